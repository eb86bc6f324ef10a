"""Volumes that SimpleITK reads for us: NRRD, MetaImage, GIPL, VTK, MINC 2, HDF5.

ITK's world is LPS (x to the left, y to the back), ours RAS. Errors are `ImageError` without the
file's name, which `gridgate.data.images.reading` puts in front.
"""

import locale
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from ...errors import ImageError
from ...geometry.affines import Affine
from ..compression import check_regular
from .text_headers import correction_of, detached_files
from .whole_file import check_whole

_PATIENT_SPACE = re.compile(
    r"(left|right)-(anterior|posterior)-(superior|inferior)(-time)?", re.IGNORECASE
)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""An affine of ITK's world, LPS, becomes one of ours when it stands to the right of this."""


def lps_affine(origin: ArrayLike, spacing: ArrayLike, direction: ArrayLike) -> Affine:
    """The RAS+ affine of an ITK geometry.

    Args:
        origin: (3,) mm in LPS, the centre of voxel 0 0 0.
        spacing: (3,) mm.
        direction: (9,) row by row, or (3, 3); columns are the voxel axes in LPS.

    Returns:
        (4, 4) float64, voxel index to RAS+ mm.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(direction, dtype=np.float64).reshape(3, 3) * np.asarray(
        spacing, dtype=np.float64
    )
    affine[:3, 3] = np.asarray(origin, dtype=np.float64)
    return LPS_TO_RAS @ affine


@contextmanager
def kept_locale() -> Iterator[None]:
    """Put the process's locale back: ITK's VTK reader leaves it at "C".

    Text files and the output of other programs would be read as ASCII from then on.
    """
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        if locale.setlocale(locale.LC_ALL) != before:
            locale.setlocale(locale.LC_ALL, before)


@kept_locale()
def read_itk_header(path: Path) -> tuple[tuple[int, ...], Affine, tuple[str, ...]]:
    """Shape (X, Y, Z), or (X, Y, Z, C), affine (RAS+ mm) and notes of a file, without its voxels.

    Raises:
        ImageError: SimpleITK cannot read it, or it is not a 3D volume.
    """
    reader = _information(path)
    shape, affine, notes = _geometry(path, reader)
    components = int(reader.GetNumberOfComponents())
    return (*shape, components) if components > 1 else shape, affine, notes


@kept_locale()
def read_itk_voxels(path: Path) -> tuple[NDArray[np.generic], Affine, tuple[str, ...]]:
    """Array (X, Y, Z), or (X, Y, Z, C) with C components, affine (RAS+ mm) and notes of a file.

    Raises:
        ImageError: SimpleITK cannot read it, it is cut off, or it is not a 3D volume of real
            numbers.
    """
    reader = _information(path)
    shape, affine, notes = _geometry(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        if "Bad direction" in str(error):
            raise ImageError(
                "its direction matrix is singular, so its voxels have no place; mend the header"
            ) from None
        raise ImageError(
            f"its voxels cannot be read, it may be cut off or damaged: {_reason(error)}"
        ) from None
    if "complex" in image.GetPixelIDTypeAsString():
        raise ImageError("its voxels are complex, not real numbers; store magnitudes instead")
    # numpy's axes are the reverse of ITK's, components last in both.
    array = sitk.GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    check_whole(path, array.size, array.itemsize)
    if components == 1:
        return array.reshape(shape[::-1]).transpose(2, 1, 0), affine, notes
    return array.reshape(*shape[::-1], components).transpose(2, 1, 0, 3), affine, notes


def _information(path: Path) -> sitk.ImageFileReader:
    if path.name.lower().endswith((".nrrd", ".nhdr", ".mhd")):
        for file in detached_files(path):
            try:
                check_regular(file)
            except FileNotFoundError:
                raise ImageError(
                    f"its voxels {file.name} are not where it says; add {file}"
                ) from None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageError(f"it is not an image that SimpleITK can read: {_reason(error)}") from None
    return reader


def _geometry(
    path: Path, reader: sitk.ImageFileReader
) -> tuple[tuple[int, int, int], Affine, tuple[str, ...]]:
    size = tuple(int(length) for length in reader.GetSize())
    dimension = len(size)
    if dimension < 3 or any(length != 1 for length in size[3:]):
        raise ImageError(
            f"it has {dimension} axes {size}, a volume has three; split or stack it first"
        )
    direction = np.asarray(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine = lps_affine(reader.GetOrigin()[:3], reader.GetSpacing()[:3], direction)
    correction = correction_of(path)
    notes = correction.notes
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
        if not _PATIENT_SPACE.fullmatch(space):  # 3D-left-handed names no patient's axes
            said = f"the NRRD file does not name a patient space (space: {space or 'none'})"
            notes = (f"geometry: {said}, LPS is assumed", *notes)
    affine = correction.apply(affine)
    return (size[0], size[1], size[2]), affine, notes


def _reason(error: RuntimeError) -> str:
    """What ITK says is wrong, without its source files and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ITK ERROR: ")]
    if said:
        return re.sub(r"^ITK ERROR: \w+\(0x[0-9a-f]+\): ", "", said[-1])
    # MetaIO gives the last error of the system, whatever its own was.
    lines = [line for line in lines if not line.startswith("Reason: ")]
    return lines[-1] if lines else "no reason given"
