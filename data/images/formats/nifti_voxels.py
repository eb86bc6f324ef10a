"""The voxels of a NIfTI file or pair as they are stored, and its header for writing masks.

nibabel parses and checks; what is added here is the mending of headers that nibabel takes at their
word or refuses, such as voxels that are said to begin inside the header. Errors are `ImageError`
without the file's name, which `gridgate.data.images.reading` puts in front.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ...errors import ImageError
from ..compression import opened, read_array, read_to_end
from ..names import HEADER_SUFFIXES, IMG_SUFFIXES, NIFTI_SUFFIXES, header_of, voxels_of
from .nifti_affine import AffineChoice, choose_affine, mend_qform

# nibabel logs what it mends in a header to stderr; ours goes into the notes.
_SILENT = logging.getLogger("gridgate.data.images.formats.nifti_voxels.header_check")
_SILENT.setLevel(logging.CRITICAL + 1)

_EXTENDER = 4  # bytes behind the header of a single file; the first says whether extensions follow
_SINGLE = (b"n+1", b"n+2")
_MAGICS = (*_SINGLE, b"ni1", b"ni2")


@dataclass(frozen=True, eq=False)
class Voxels:
    """What a NIfTI file stores: value = stored * slope + inter.

    Args:
        header: as `read_header` gives it.
        stored: the file's array, its own dtype and axes.
        choice: of `choose_affine` on the untouched header.
        notes: what was odd about where the voxels begin.
    """

    header: nib.Nifti1Header
    stored: NDArray[np.generic]
    slope: float
    inter: float
    choice: AffineChoice
    notes: tuple[str, ...] = ()


def read_header(path: Path) -> nib.Nifti1Header:
    """The header of a NIfTI file or pair, byte for byte, unless nibabel could not open it.

    In that case the qform is mended or its code set to zero, so that a file written with this
    header can be opened.

    Args:
        path: .nii, or either file of a .hdr/.img pair; gzip and bzip2 are recognised by content.

    Raises:
        ImageError: not a NIfTI file, or a header that cannot be mended.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    with opened(header_of(path)) as stream:
        return _writable_header(_parse(stream))


def nifti_header(path: Path) -> nib.Nifti1Header | None:
    """As `read_header`; None for a file of another format, as its name tells."""
    name = path.name.lower()
    pair = name.endswith(HEADER_SUFFIXES + IMG_SUFFIXES)
    if name.endswith(NIFTI_SUFFIXES) or (pair and is_nifti_pair(path)):
        return read_header(path)
    return None


def is_nifti_pair(path: Path) -> bool:
    """Whether the header of a .hdr/.img pair is NIfTI's, not Analyze's.

    Raises:
        ImageError: it is neither.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    with opened(header_of(path)) as stream:
        start = stream.read(540)
    size = _header_size(start)
    if size == 0:
        raise ImageError(
            "it is neither a NIfTI nor an Analyze header; other formats with the suffix .hdr "
            "cannot be read, convert it to .nii.gz"
        )
    magic = start[4:7] if size == 540 else start[344:347]
    return magic in _MAGICS


def read_voxels(path: Path) -> Voxels:
    """Read header and voxels of a NIfTI file or pair; gzip and bzip2 are recognised by content.

    Args:
        path: .nii, or either file of a .hdr/.img pair.

    Raises:
        ImageError: not a NIfTI file, RGB or complex voxels, no usable geometry, or it cannot be
            told where the voxels begin.
        OSError, EOFError, zlib.error: the file cannot be read, is cut off or is damaged.
    """
    notes: list[str] = []
    with _streams(path) as (in_header, in_voxels):
        header = _parse(in_header)
        choice = choose_affine(header)
        checked = _checked(header)
        dtype, shape = _dtype_and_shape(checked)
        count = math.prod(shape) * dtype.itemsize
        if in_voxels is in_header:
            begin = _begin_in_file(header, in_header, count, notes)
        else:
            begin = _begin_in_pair(header, in_voxels, count, notes)
        slope, inter = checked.get_slope_inter()
        in_voxels.seek(begin)
        stored = read_array(in_voxels, shape, dtype)
        read_to_end(in_voxels)  # a damaged file must not pass for a whole one
    return Voxels(
        _writable_header(header),
        stored,
        1.0 if slope is None else float(slope),
        0.0 if inter is None else float(inter),
        choice,
        tuple(notes),
    )


@contextmanager
def _streams(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The stream of the header and that of the voxels; the same one for a single file."""
    voxels = voxels_of(path)
    with opened(header_of(path)) as in_header:
        if voxels is None:
            yield in_header, in_header
        else:
            with opened(voxels) as in_voxels:
                yield in_header, in_voxels


def _dtype_and_shape(header: nib.Nifti1Header) -> tuple[np.dtype, tuple[int, ...]]:
    dtype = header.get_data_dtype()
    if dtype.fields is not None:
        raise ImageError(
            "it is a colour picture (RGB voxels), not a scan; convert it to one number per voxel"
        )
    if dtype.kind not in "iuf":
        raise ImageError(
            f"its voxels are of type {dtype}, not real numbers; store magnitudes instead"
        )
    shape = tuple(int(size) for size in header.get_data_shape())
    if min(shape, default=0) < 1:
        raise ImageError(
            f"its header gives it the axes {shape}, so it holds no voxels; convert it again"
        )
    return dtype, shape


def _begin_in_file(header: nib.Nifti1Header, stream: BinaryIO, count: int, notes: list[str]) -> int:
    """Where the voxels of a single file begin: vox_offset, unless that lies inside the header.

    Then the size of the file decides, as each place where voxels may begin wants another size.

    Args:
        count: bytes of all voxels.
    """
    size = header.sizeof_hdr
    least = size + _EXTENDER
    said = float(header["vox_offset"])
    stream.seek(size)
    extended = stream.read(_EXTENDER)[:1] not in (b"", b"\0")
    end = _end_of_extensions(header, stream, least) if extended else least
    sound = np.isfinite(said) and said >= least
    if sound and (not extended or end is None or end <= said):
        return int(said)
    stream.seek(size)
    total = size + read_to_end(stream)
    places = {size, least, end or least} | ({int(said)} if sound else set())
    fits = sorted(place for place in places if place + count == total)
    if sound and int(said) in fits:
        return int(said)
    if total < size + count:
        raise OSError(f"Expected {count} bytes, got {total - least} bytes")
    where = f"vox_offset {said:g} says that the voxels begin inside the header"
    if len(fits) != 1:
        raise ImageError(
            f"{where}, and the size of the file ({total} bytes) does not tell where they do "
            f"begin ({count} bytes of voxels); convert it again"
        )
    notes.append(f"{where}; by the size of the file they begin at byte {fits[0]}")
    return fits[0]


def _begin_in_pair(header: nib.Nifti1Header, stream: BinaryIO, count: int, notes: list[str]) -> int:
    """Where the voxels begin in the .img file of a pair: vox_offset, unless they fill the file."""
    said = float(header["vox_offset"])
    if said == 0:
        return 0
    total = read_to_end(stream)
    if np.isfinite(said) and said > 0 and int(said) + count <= total:
        return int(said)
    if total == count:
        notes.append(
            f"vox_offset {said:g} does not fit the voxels' file; by its size they begin at byte 0"
        )
        return 0
    if np.isfinite(said) and said > 0:
        return int(said)  # where reading finds too few bytes
    raise ImageError(
        f"vox_offset {said:g} is no place in a file, and the size of the voxels' file ({total} "
        f"bytes, {count} of voxels) does not tell where they begin; convert it again"
    )


def _end_of_extensions(header: nib.Nifti1Header, stream: BinaryIO, begin: int) -> int | None:
    """Where the chain of header extensions ends, None when the first is none.

    An extension begins with its size (a multiple of 16) and its code; what is not such a beginning
    is behind the last.
    """
    end = begin
    order = "little" if header.endianness == "<" else "big"
    while True:
        stream.seek(end)
        start = stream.read(8)
        size = int.from_bytes(start[:4], order, signed=True)  # type: ignore[arg-type]
        code = int.from_bytes(start[4:], order, signed=True)  # type: ignore[arg-type]
        if len(start) < 8 or size < 16 or size % 16 or not 0 <= code <= 1000:
            return end if end > begin else None
        end += size


def _header_size(start: bytes) -> int:
    """348 for NIfTI-1 and Analyze, 540 for NIfTI-2, of either byte order; else 0."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    return next((size for size in (348, 540) if size in sizes), 0)


def _parse(stream: BinaryIO) -> nib.Nifti1Header:
    """The header alone: its extensions are not looked at, as masks do not keep them."""
    stream.seek(0)
    start = stream.read(540)
    size = _header_size(start)
    if size == 0:
        raise ImageError("it is not a NIfTI file, whatever its name says")
    if len(start) < size:
        raise OSError(f"Expected {size} bytes of header, got {len(start)} bytes")
    header_class: type[nib.Nifti1Header] = nib.Nifti1Header if size == 348 else nib.Nifti2Header
    return header_class(start[:size], check=False)


def _checked(header: nib.Nifti1Header) -> nib.Nifti1Header:
    """A copy with nibabel's own small repairs; HeaderDataError when it is beyond them."""
    copy = header.copy()
    copy["vox_offset"] = 0  # looked at by ourselves
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
        mend_qform(mended, [])
    except ImageError:
        mended = header.copy()
        mended["qform_code"] = 0
    return mended
