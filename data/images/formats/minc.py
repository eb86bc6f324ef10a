"""MINC files: version 1 (netCDF) through nibabel, version 2 (HDF5) through SimpleITK.

MINC's world is RAS+ in mm, as ours. Errors are `ImageError` without the file's name, which
`gridgate.data.images.reading` puts in front.
"""

import struct
from io import IOBase
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from ...errors import ImageError
from ...geometry.affines import Affine, why_unusable
from ..compression import opened, read_to_end
from .itk import LPS_TO_RAS, read_itk_header, read_itk_voxels

_HDF5 = b"\x89HDF"
_GZIP_OR_BZIP2 = (b"\x1f\x8b", b"BZ")
# ITK 5 hands out MINC's own coordinates as if they were LPS; of later versions that is not sure.
_KNOWN_ITK = 5
# What nibabel raises about a file that lacks something, has it in another form, or is cut off.
_DAMAGE = (
    nib.minc1.MincError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


def read_minc_header(path: Path) -> tuple[tuple[int, ...], Affine, tuple[str, ...]]:
    """Shape, affine (RAS+ mm) and notes of a .mnc file, without its voxels.

    Raises:
        ImageError: it cannot be understood, has a time axis, irregular spacing or no usable
            geometry, or is a compressed MINC 2 file.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    if _is_version_2(path):
        shape, affine, _ = read_itk_header(path)
        return shape, *_placed(LPS_TO_RAS @ affine, _written_by(path))
    image = _minc1(path)[0]
    return tuple(image.shape), *_placed(np.asarray(image.affine))


def read_minc_voxels(path: Path) -> tuple[NDArray[np.generic], Affine, tuple[str, ...]]:
    """Array with its axes in the file's order, affine (RAS+ mm) and notes of a .mnc file.

    Stored numbers are scaled to the range that the file gives, per slice where it does so.

    Raises:
        ImageError: as for `read_minc_header`.
        OSError, EOFError, zlib.error: the file cannot be read or is cut off.
    """
    if _is_version_2(path):
        array, affine, _ = read_itk_voxels(path)
        return array, *_placed(LPS_TO_RAS @ affine, _written_by(path))
    image, array = _minc1(path)
    return array, *_placed(np.asarray(image.affine))


def _is_version_2(path: Path) -> bool:
    with opened(path) as stream:
        if stream.read(4) != _HDF5:
            return False
    with path.open("rb") as raw:
        if raw.read(2) in _GZIP_OR_BZIP2:
            raise ImageError("a compressed MINC 2 file cannot be read; unpack it")
    if sitk.Version.ITKMajorVersion() != _KNOWN_ITK:
        raise ImageError(
            "MINC 2 is read with ITK 5 only, as others may take left for right; convert it to "
            "NIfTI with mnc2nii"
        )
    return True


def _minc1(path: Path) -> tuple[Any, NDArray[np.generic]]:
    with opened(path) as stream:
        try:
            holder = FileHolder(fileobj=cast(IOBase, stream))
            image = nib.Minc1Image.from_file_map({"image": holder})
            shape = tuple(image.shape)
            array = np.asarray(image.dataobj) if len(shape) == 3 else np.empty(0)
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:200]
            if isinstance(error, KeyError):
                reason = f"it lacks {error.args[0]}"
            raise ImageError(
                f"its MINC header cannot be understood, or it is cut off ({reason}); convert it to "
                "NIfTI with mnc2nii"
            ) from error
        if len(shape) != 3:
            raise ImageError(
                f"it has the axes {shape} with time among them, a volume has three; split it first"
            )
        stream.seek(0)
        read_to_end(stream)  # a damaged file must not pass for a whole one
    return image, array


def _written_by(path: Path) -> tuple[str, ...]:
    """A note where no tool of MINC's has left its line in the history of a version 2 file."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.HasMetaDataKey("history"):
        return ()
    return (
        "geometry: x to the right, y to the front is assumed, as MINC defines it, but a MINC 2 "
        "file that ITK wrote may have them the other way (check left and right)",
    )


def _placed(affine: Affine, notes: tuple[str, ...] = ()) -> tuple[Affine, tuple[str, ...]]:
    affine = np.asarray(affine, dtype=np.float64)
    trouble = why_unusable(affine)
    if trouble is not None:
        raise ImageError(f"its header gives no usable geometry ({trouble}); convert it to NIfTI")
    matrix = np.abs(affine[:3, :3])
    if not affine[:3, 3].any() and np.array_equal(np.sort(matrix, axis=1), [[0, 0, 1]] * 3):
        # Steps and starts that are missing come back so from both libraries.
        notes = (
            *notes,
            "geometry: voxels of 1 mm that begin at 0 0 0, as of a MINC file that gives neither "
            "steps nor starts (check the spacing)",
        )
    return affine, notes
