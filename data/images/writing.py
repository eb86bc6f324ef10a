"""Predictions on disk: files in the scan's own grid that appear complete or not at all."""

import sys
from io import IOBase
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..errors import OutputError
from ..files import Save, write_atomically
from ..geometry.affines import is_orthonormal
from ..label_tables.caret import CARET, caret_extension
from ..label_tables.table import LabelTable
from .compression import deflating
from .image import Image
from .itk_writing import write_metaimage, write_nrrd, write_segmentation
from .names import MASK_SUFFIXES

_NATIVE = "<" if sys.byteorder == "little" else ">"


_LAST_CODE = 5  # of NIfTI's kinds of coordinates


def smallest_unsigned(maximum: int) -> np.dtype:
    """The smallest unsigned integer type that holds 0..maximum.

    Raises:
        ValueError: maximum is negative, or beyond 64 bits.
    """
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        if 0 <= maximum <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise ValueError(f"no unsigned integer type holds {maximum}")


def write_labels(
    path: str | Path,
    labels: ArrayLike,
    *,
    like: Image,
    table: LabelTable | None = None,
    save: Save = write_atomically,
) -> None:
    """Write a label map in the grid of the scan it belongs to.

    A NIfTI file has the scan's sform, qform, both codes and xyzt_units, bit for bit, where the scan
    is a NIfTI file, else its affine in both forms with code 1 (scanner) in mm; NRRD and MetaImage
    have its affine. It replaces an older file only once it is complete.

    Args:
        path: ends in one of MASK_SUFFIXES; folders on the way are made.
        labels: (X, Y, Z), integers or booleans from 0 up; stored as the smallest unsigned type that
            holds the largest.
        like: the scan, as `read_image` gave it.
        table: names and colours of the values. NIfTI holds them in a header extension, .seg.nrrd
            as 3D Slicer's segments (numbered ones without a table), the others not at all.
        save: writes the file's content; of an OutputFolder where it is to be in its manifest.

    Raises:
        OutputError: another shape than the scan's, labels that are not whole, are negative or not
            in the table, another suffix, disk full, folder not writable. No half-written file stays
            behind.

    Example:
        >>> scan = read_image("ct.nii.gz")  # doctest: +SKIP
        >>> write_labels("bone.nii.gz", scan.array > 300, like=scan)  # doctest: +SKIP
    """
    path = Path(path)
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise OutputError(
            f"{path}: labels are of type {array.dtype}, not integers; take the argmax first"
        )
    _check_shape(path, array, like)
    if int(array.min()) < 0:
        raise OutputError(f"{path}: labels hold the negative value {int(array.min())}")
    largest = int(array.max())
    if table is not None and largest > max(label.value for label in table):
        raise OutputError(f"{path}: the labels hold the value {largest}, which has no name")
    array = array.astype(smallest_unsigned(largest), copy=False)
    name, affine = path.name.lower(), like.grid.affine
    if name.endswith(".seg.nrrd"):
        shown = table or LabelTable.of(["background", *map(str, range(1, largest + 1))])
        save(path, lambda stream: write_segmentation(stream, array, affine, shown))
    elif name.endswith(".nrrd"):
        save(path, lambda stream: write_nrrd(stream, array, affine))
    elif name.endswith(".mha"):
        save(path, lambda stream: write_metaimage(stream, array, affine))
    elif name.endswith((".nii", ".nii.gz")):
        _write(path, array, like, table=table, save=save)
    else:
        raise OutputError(f"{path}: masks are written as {', '.join(MASK_SUFFIXES)} only")


def write_image(
    path: str | Path,
    array: ArrayLike,
    *,
    like: Image,
    keep_integers: bool = False,
    save: Save = write_atomically,
) -> None:
    """Write a volume as float32 in the grid of a scan; as `write_labels` otherwise.

    Args:
        path: ends in .nii.gz or .nii; folders on the way are made.
        array: (X, Y, Z), real numbers; stored without scaling.
        like: the scan, as `read_image` gave it.
        keep_integers: an array of int16 or int32 is stored as such.
        save: as for `write_labels`.

    Raises:
        OutputError: another shape than the scan's, another suffix, disk full, folder not writable.
    """
    path = Path(path)
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise OutputError(f"{path}: voxels are of type {values.dtype}, not real numbers")
    _check_shape(path, values, like)
    kept = keep_integers and values.dtype in (np.int16, np.int32)
    _write(path, values if kept else values.astype(np.float32, copy=False), like, save=save)


def write_probabilities(
    path: str | Path, array: NDArray[np.uint8], *, like: Image, save: Save = write_atomically
) -> None:
    """Write probabilities as uint8 with the slope 1/255; as `write_labels` otherwise.

    Args:
        path: ends in .nii.gz or .nii; folders on the way are made.
        array: (X, Y, Z) uint8; 255 is probability 1.
        like, save: as for `write_labels`.

    Raises:
        OutputError: another shape than the scan's, another suffix, disk full, folder not writable.
    """
    path = Path(path)
    _check_shape(path, array, like)
    _write(path, array, like, slope=1.0 / 255.0, save=save)


def _check_shape(path: Path, array: NDArray[np.generic], like: Image) -> None:
    if array.shape != like.grid.shape:
        raise OutputError(
            f"{path}: the result has the shape {array.shape}, the scan {like.path} "
            f"{like.grid.shape}"
        )


def _write(
    path: Path,
    array: NDArray[np.generic],
    like: Image,
    *,
    slope: float | None = None,
    table: LabelTable | None = None,
    save: Save = write_atomically,
) -> None:
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"{path}: results are written as .nii.gz or .nii only")
    header = _header(like, array.shape, array.dtype)
    if table is not None:
        header.extensions.append(nib.nifti1.Nifti1Extension(CARET, caret_extension(table)))
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # Without an affine nibabel leaves the header's forms alone; with one it would recompute them.
    image = image_class(array, None, header)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)  # the array is written as it is

    def write(stream: BinaryIO) -> None:
        if not name.endswith(".gz"):
            image.to_stream(cast(IOBase, stream))
            return
        with deflating(stream) as compressed:
            image.to_stream(cast(IOBase, compressed))

    save(path, write)


def _header(like: Image, shape: tuple[int, ...], dtype: DTypeLike) -> nib.Nifti1Header:
    if like.header is None:
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        # Shear does not fit into a quaternion: the sform alone speaks then, the qform only carries
        # the voxel sizes.
        header.set_qform(like.grid.affine, code=1 if is_orthonormal(like.grid.affine) else 0)
        header.set_sform(like.grid.affine, code=1)
        header.set_xyzt_units("mm")
    else:
        header = like.header.as_byteswapped(_NATIVE)
        header.set_data_shape(shape)
    # Extensions belong to the scan, and may hold its DICOM header with the patient's name.
    header.extensions.clear()
    header["vox_offset"] = 0  # nibabel puts the right one
    for name in ("sform_code", "qform_code"):
        if int(header[name]) > _LAST_CODE:  # nibabel would put 0, and the form would be lost
            header[name] = 1
    header["cal_min"] = header["cal_max"] = 0
    header["intent_code"] = 0
    header["intent_p1"] = header["intent_p2"] = header["intent_p3"] = 0
    header["intent_name"] = b""
    header.set_data_dtype(dtype)
    return header
