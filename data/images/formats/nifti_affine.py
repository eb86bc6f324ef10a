"""Which affine a NIfTI header means: sform, qform or pixdim, with what is odd about it.

nibabel parses; what is added here is the choice between the forms with its reasons, and the mending
of numbers that nibabel takes at their word or refuses. Errors are `ImageError` without the file's
name, which `gridgate.data.images.reading` puts in front.
"""

from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ...errors import ImageError
from ...geometry.affines import Affine, spacing, why_unusable
from ...geometry.grids import corner_centres

_DISAGREEMENT_MM = 0.1
_MM_PER_UNIT = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # low three bits of xyzt_units
_NO_UNIT, _MM = 0, 2
# No scanner's voxels are longer or shorter; a header that says so probably has the wrong unit.
_LONGEST_EDGE_MM, _SHORTEST_EDGE_MM = 100.0, 0.01
# float32 rounding puts a unit quaternion a little over 1; more than this is not a rotation at all.
_LONGEST_QUATERNION = 1.01


@dataclass(frozen=True, eq=False)
class AffineChoice:
    """The affine that places a NIfTI file's voxels.

    Args:
        affine: (4, 4) float64, voxel index to RAS+ mm.
        source: the part of the header it was taken from.
        why: what a person should know about the choice; empty when nothing is out of the ordinary.
        disagree_mm: how far sform and qform lie apart at a corner voxel, where that is too much.
        other: the qform's affine (4, 4) in mm where the two disagree.
    """

    affine: Affine
    source: Literal["sform", "qform", "pixdim"]
    why: str
    disagree_mm: float = 0.0
    other: Affine | None = None


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
    unit = int(header["xyzt_units"]) & 7
    sform = _usable_sform(header, notes)
    qform = _usable_qform(header, notes)
    affine: Affine
    source: Literal["sform", "qform", "pixdim"]
    disagree_mm = 0.0
    if sform is not None:
        affine, source = sform, "sform"
        if qform is not None and len(shape) >= 3:
            forms = [corner_centres(shape, _in_mm(form, unit, [])) for form in (sform, qform)]
            apart = np.linalg.norm(forms[0] - forms[1], axis=1).max()
            if apart > _DISAGREEMENT_MM:
                disagree_mm = float(apart)
                notes.append(f"sform and qform disagree by up to {apart:.4g} mm; the sform is used")
    elif qform is not None:
        affine, source = qform, "qform"
        if notes:
            notes.append("the qform is used")
    else:
        affine, source = _pixdim_affine(header), "pixdim"
        notes.append(
            "geometry: the header gives voxel sizes but no orientation, nibabel's default is used "
            "(x to the left, y to the front, z up): check left and right"
        )
    other = _in_mm(qform, unit, []) if qform is not None and disagree_mm else None
    affine = _in_mm(affine, unit, notes)
    return AffineChoice(affine, source, "; ".join(notes), disagree_mm, other)


def _in_mm(affine: Affine, unit: int, notes: list[str]) -> Affine:
    """The affine in mm; most files with no unit (0) are in mm, so that is no cause for a note."""
    if unit not in _MM_PER_UNIT:
        if unit not in (_NO_UNIT, _MM):
            notes.append(
                f"geometry: xyzt_units holds no known unit of length ({unit}), mm is assumed"
            )
        return affine
    name, factor = _MM_PER_UNIT[unit]
    scaled = np.diag([factor, factor, factor, 1.0]) @ affine
    longest = float(spacing(scaled).max())
    said = f"the header's lengths are in {name}, they were scaled to mm"
    if not _SHORTEST_EDGE_MM < longest < _LONGEST_EDGE_MM:
        said = f"geometry: {said}, which makes voxels {longest:.4g} mm long: check its unit"
    notes.append(said)
    return scaled


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
        mend_qform(mended, remarks)
        affine = np.asarray(mended.get_qform(), dtype=np.float64)
        trouble = why_unusable(affine)
    except (ImageError, HeaderDataError, ValueError) as error:
        trouble = str(error)
    if trouble is not None:
        notes.append(f"the qform is unusable ({trouble})")
        return None
    notes.extend(remarks)
    return affine


def mend_qform(header: nib.Nifti1Header, remarks: list[str]) -> None:
    """Bring pixdim and quaternion into the range that the standard asks for, in place.

    Raises:
        ImageError: no voxel size, or a quaternion that is no rotation.
    """
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
