"""Analyze 7.5 pairs of .hdr and .img, SPM's with a .mat beside them included, through nibabel.

The format has a field for the plane of its slices, but none that tells left from right.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from ...errors import ImageError
from ...geometry.affines import Affine, spacing
from ..compression import opened, read_to_end
from ..names import case_id, header_of, voxels_of

_PLANES = {1: "coronal", 2: "sagittal", 3: "axial, flipped", 4: "coronal, flipped"}
_PLANES[5] = "sagittal, flipped"
_AXIAL = 0
_ORIENT = 252  # the byte of that field


def read_analyze_header(path: Path) -> tuple[tuple[int, ...], Affine, tuple[str, ...]]:
    """Shape, affine (RAS+ mm) and notes of an Analyze pair, without its voxels.

    Raises:
        ImageError: its slices are not axial, or it gives no voxel size.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    with opened(header_of(path)) as stream:
        image = nib.Spm2AnalyzeImage.from_file_map(_files(path, stream, stream))
        notes = _notes(path, stream, np.asarray(image.affine))
    return tuple(image.shape), np.asarray(image.affine), notes


def read_analyze_voxels(
    path: Path,
) -> tuple[NDArray[np.generic], float, float, Affine, tuple[str, ...]]:
    """Stored array, slope, intercept, affine (RAS+ mm) and notes of an Analyze pair.

    Raises:
        ImageError: its slices are not axial, it gives no voxel size, or its voxels are RGB or
            complex.
        OSError, EOFError, zlib.error: a file cannot be read or is cut off.
    """
    voxels = voxels_of(path)
    assert voxels is not None
    with opened(header_of(path)) as in_header, opened(voxels) as in_voxels:
        image = nib.Spm2AnalyzeImage.from_file_map(_files(path, in_header, in_voxels))
        notes = _notes(path, in_header, np.asarray(image.affine))
        proxy: Any = image.dataobj
        if proxy.dtype.kind not in "iuf":
            raise ImageError(
                f"its voxels are of type {proxy.dtype}, not real numbers; convert it to NIfTI"
            )
        stored = np.asarray(proxy.get_unscaled())
        in_voxels.seek(0)
        read_to_end(in_voxels)
        return stored, float(proxy.slope), float(proxy.inter), np.asarray(image.affine), notes


def _mat(path: Path) -> Path | None:
    """SPM's affine beside the pair; one of another program has none of its variables."""
    found = path.with_name(f"{case_id(path)}.mat")
    return found if found.is_file() else None


def _files(path: Path, header: Any, image: Any) -> dict[str, FileHolder]:
    files = {"header": FileHolder(fileobj=header), "image": FileHolder(fileobj=image)}
    mat = _mat(path)
    # nibabel takes an OSError for: there is none.
    files["mat"] = FileHolder(filename=str(mat or path.with_name(".there is none.mat")))
    return files


def _notes(path: Path, header: Any, affine: Affine) -> tuple[str, ...]:
    mat = _mat(path)
    if mat is not None:
        return (f"an Analyze pair; its affine is that of {mat.name}",)
    header.seek(_ORIENT)
    orient = header.read(1)[0]
    if orient in _PLANES:
        raise ImageError(
            f"an Analyze pair whose slices are {_PLANES[orient]} (orient {orient}); that format "
            "does not tell left from right, convert the scan to NIfTI from its source"
        )
    if not (np.isfinite(affine).all() and (spacing(affine) > 0).all()):
        raise ImageError("an Analyze pair without voxel sizes; convert it to NIfTI from its source")
    return (
        "geometry: an Analyze pair, a format that does not tell left from right, x to the left, y "
        "to the front, z up is assumed, as SPM does: check left and right",
    )
