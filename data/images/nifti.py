"""NIfTI files at the level of their header: which affine is meant, and the voxels as they are stored.

nibabel parses and checks; what is added here is the choice between sform and qform with its
reasons, and the mending of headers that nibabel takes at their word or refuses. Errors are
`ImageError` without the file's name, which `gridgate.data.images.reading` puts in front.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ..errors import ImageError
from ..geometry.grids import Affine, corner_centres, why_unusable
from .compression import inflating, read_array, read_to_end

# nibabel logs what it mends in a header to stderr; ours goes into the notes.
_SILENT = logging.getLogger("gridgate.data.images.nifti.header_check")
_SILENT.setLevel(logging.CRITICAL + 1)

_DISAGREEMENT_MM = 0.1
_MM_PER_UNIT = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # low three bits of xyzt_units
# float32 rounding puts a unit quaternion a little over 1; more than this is not a rotation at all.
_LONGEST_QUATERNION = 1.01


@dataclass(frozen=True, eq=False)
class AffineChoice:
    """The affine that places a NIfTI file's voxels.

    Args:
        affine: (4, 4) float64, voxel index to RAS+ mm.
        source: the part of the header it was taken from.
        why: what a person should know about the choice; empty when nothing is out of the ordinary.
    """

    affine: Affine
    source: Literal["sform", "qform", "pixdim"]
    why: str


def choose_affine(header: nib.Nifti1Header) -> AffineChoice:
    """Choose between the places where a NIfTI header may keep its geometry.

    The sform when its code is above zero and it is usable, else the qform likewise, else nibabel's
    centred affine from pixdim (index x grows to the left). `why` tells of a form that is set but
    unusable, of two usable forms that lie more than 0.1 mm apart at a corner voxel, of mended
    numbers, of units other than mm (scaled to mm), and of a guess.

    Args:
        header: NIfTI-1 or NIfTI-2, as it stands in the file. It is not changed.

    Returns:
        AffineChoice whose affine is in RAS+ mm.

    Raises:
        ImageError: no form is usable and pixdim gives no voxel size.
    """
    notes: list[str] = []
    shape = header.get_data_shape()
    sform = _usable_sform(header, notes)
    qform = _usable_qform(header, notes)
    affine: Affine
    source: Literal["sform", "qform", "pixdim"]
    if sform is not None:
        affine, source = sform, "sform"
        if qform is not None and len(shape) >= 3:
            apart = np.linalg.norm(
                corner_centres(shape, sform) - corner_centres(shape, qform), axis=1
            ).max()
            if apart > _DISAGREEMENT_MM:
                notes.append(f"sform and qform disagree by up to {apart:.4g} mm; the sform is used")
    elif qform is not None:
        affine, source = qform, "qform"
        if notes:
            notes.append("the qform is used")
    else:
        affine, source = _pixdim_affine(header), "pixdim"
        notes.append(
            "the header gives voxel sizes but no orientation; nibabel's default is used (x to the "
            "left, "
            "y to the front, z up): check left and right"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit in _MM_PER_UNIT:
        name, factor = _MM_PER_UNIT[unit]
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
        notes.append(f"the header's lengths are in {name}; they were scaled to mm")
    return AffineChoice(affine, source, "; ".join(notes))


def read_header(path: Path) -> nib.Nifti1Header:
    """The header of a .nii or .nii.gz file, byte for byte, unless nibabel could not open it.

    In that case the qform is mended or its code set to zero, so that a file written with this
    header can be opened.

    Raises:
        ImageError: not a NIfTI file, or a header that cannot be mended.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    with _opened(path) as stream:
        return _writable_header(_parse(stream))


@dataclass(frozen=True, eq=False)
class Voxels:
    """What a NIfTI file stores: value = stored * slope + inter.

    Args:
        header: as `read_header` gives it.
        stored: the file's array, its own dtype and axes.
        choice: of `choose_affine` on the untouched header.
    """

    header: nib.Nifti1Header
    stored: NDArray[np.generic]
    slope: float
    inter: float
    choice: AffineChoice


def read_voxels(path: Path) -> Voxels:
    """Read header and voxels of a .nii or .nii.gz file; gzip is recognised by content, not by name.

    Raises:
        ImageError: not a NIfTI file, RGB or complex voxels, no usable geometry.
        OSError, EOFError, zlib.error: the file cannot be read, is cut off or is damaged.
    """
    with _opened(path) as stream:
        header = _parse(stream)
        choice = choose_affine(header)
        checked = _checked(header)
        dtype = checked.get_data_dtype()
        if dtype.fields is not None:
            raise ImageError(
                "it is a colour picture (RGB voxels), not a scan; convert it to one number a voxel"
            )
        if dtype.kind not in "iuf":
            raise ImageError(
                f"its voxels are of type {dtype}, not real numbers; store magnitudes instead"
            )
        shape = checked.get_data_shape()
        if min(shape, default=0) < 1:
            raise ImageError(
                f"its header gives it the axes {shape}, so it holds no voxels; convert it again"
            )
        slope, inter = checked.get_slope_inter()
        stream.seek(checked.get_data_offset())
        stored = read_array(stream, shape, dtype)
        read_to_end(stream)  # a damaged file must not pass for a whole one
    slope, inter = (
        (1.0 if slope is None else float(slope)),
        (0.0 if inter is None else float(inter)),
    )
    return Voxels(_writable_header(header), stored, slope, inter, choice)


def _usable_sform(header: nib.Nifti1Header, notes: list[str]) -> Affine | None:
    if int(header["sform_code"]) <= 0:
        return None
    affine = np.asarray(header.get_sform(), dtype=np.float64)
    trouble = why_unusable(affine)
    if trouble is not None:
        notes.append(f"the sform is unusable ({trouble})")
        return None
    return affine


def _usable_qform(header: nib.Nifti1Header, notes: list[str]) -> Affine | None:
    if int(header["qform_code"]) <= 0:
        return None
    mended = header.copy()
    remarks: list[str] = []
    try:
        _mend_qform(mended, remarks)
        affine = np.asarray(mended.get_qform(), dtype=np.float64)
        trouble = why_unusable(affine)
    except (ImageError, HeaderDataError, ValueError) as error:
        trouble = str(error)
    if trouble is not None:
        notes.append(f"the qform is unusable ({trouble})")
        return None
    notes.extend(remarks)
    return affine


def _mend_qform(header: nib.Nifti1Header, remarks: list[str]) -> None:
    """Bring pixdim and quaternion into the range the standard asks for, in place, or raise ImageError."""
    sizes = _voxel_sizes(header)
    if (np.asarray(header["pixdim"][1:4]) < 0).any():
        remarks.append("pixdim holds negative voxel sizes; their absolute values are used")
    header["pixdim"][1:4] = sizes
    # The standard: any qfac but -1 counts as 1; NIfTI writers leave 0 often, which is no cause for
    # a remark.
    header["pixdim"][0] = -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    fields = ("quatern_b", "quatern_c", "quatern_d")
    quaternion = np.array([float(header[field]) for field in fields])
    length = float(np.linalg.norm(quaternion))
    if not length <= _LONGEST_QUATERNION:  # also true of NaN
        raise ImageError(f"its quaternion has the length {length:.4g}, so it is no rotation")
    # nibabel's own allowance is 3 float32 steps on the squared length.
    if length**2 > 1.0 + 3 * np.finfo(np.float32).eps:
        remarks.append(f"the qform's quaternion has the length {length:.6g}; it was scaled to 1")
        for field, number in zip(fields, quaternion / length, strict=True):
            header[field] = number


def _voxel_sizes(header: nib.Nifti1Header) -> NDArray[np.float64]:
    sizes = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ImageError(f"pixdim gives no voxel size: {sizes.tolist()}")
    return sizes


def _pixdim_affine(header: nib.Nifti1Header) -> Affine:
    try:
        sizes = _voxel_sizes(header)
    except ImageError as error:
        raise ImageError(
            f"the header has no usable geometry (no usable sform or qform, and {error}); "
            "convert the scan again from DICOM"
        ) from None
    mended = header.copy()
    mended["pixdim"][1:4] = sizes
    return np.asarray(mended.get_base_affine(), dtype=np.float64)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with open(path, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if compressed:
            with inflating(raw) as stream:
                yield stream
        else:
            yield raw


def _parse(stream: BinaryIO) -> nib.Nifti1Header:
    start = stream.read(4)
    stream.seek(0)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    header_class: type[nib.Nifti1Header]
    if 348 in sizes:
        header_class = nib.Nifti1Header
    elif 540 in sizes:
        header_class = nib.Nifti2Header
    else:
        raise ImageError("it is not a NIfTI file, whatever its name says")
    try:
        return header_class.from_fileobj(stream, check=False)
    except ValueError as error:  # a header extension of an impossible length
        raise ImageError(f"its NIfTI header is damaged ({error}); convert it again") from error


def _checked(header: nib.Nifti1Header) -> nib.Nifti1Header:
    """A copy with nibabel's own small repairs; HeaderDataError when it is beyond them."""
    copy = header.copy()
    copy.check_fix(logger=_SILENT, error_level=40)
    return copy


def _writable_header(header: nib.Nifti1Header) -> nib.Nifti1Header:
    checked = _checked(header)
    try:
        checked.get_best_affine()
        checked.get_qform(coded=True)
        return header
    except (HeaderDataError, ValueError):
        mended = header.copy()
    try:
        _mend_qform(mended, [])
    except ImageError:
        mended = header.copy()
        mended["qform_code"] = 0
    return mended
