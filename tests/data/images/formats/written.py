"""Small files of seldom formats, and what a mask of them must be."""

import bz2
import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.io import netcdf_file

from gridgate.data.images.reading import (
    read_image,
    write_labels,
)

NIBABELS = Path(nib.__file__).parent / "tests" / "data"
SHAPE = (6, 5, 4)
AFFINE = np.array([[-0.8, 0, 0, 100], [0, -0.9, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
RAS = np.array([[0.8, 0, 0, -100], [0, 0.9, 0, -90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
HU = (np.arange(120, dtype=np.int16).reshape(SHAPE) * 11 - 1000).astype(np.int16)
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def afni(path: Path, *, packing: str = "", factor: float = 0.0, voxels: object = HU) -> None:
    """A .HEAD and .BRIK as AFNI's documentation describes them, AFFINE in LPS row by row."""
    array = np.asarray(voxels)
    attributes = [
        ("integer", "DATASET_RANK", "3 1 0 0 0 0 0 0"),
        ("integer", "DATASET_DIMENSIONS", "6 5 4 0 0"),
        ("float", "DELTA", "0.8 0.9 2.5"),
        ("float", "IJK_TO_DICOM_REAL", "0.8 0 0 -100 0 0.9 0 -90 0 0 2.5 -300"),
        ("integer", "BRICK_TYPES", {"int16": "1", "uint8": "0", "float32": "3"}[array.dtype.name]),
        ("float", "BRICK_FLOAT_FACS", f"{factor}"),
        ("string", "BYTEORDER_STRING", "'LSB_FIRST~"),
    ]
    text = ""
    for kind, name, value in attributes:
        count = len(value) - 1 if kind == "string" else len(value.split())
        text += f"\ntype = {kind}-attribute\nname = {name}\ncount = {count}\n {value}\n"
    path.write_text(text)
    body = array.astype(array.dtype.newbyteorder("<")).tobytes(order="F")
    path.with_name(f"{path.stem}.BRIK{packing}").write_bytes(PACK[packing](body))


def minc1(path: Path, *, voxels: NDArray[np.int16] = HU, attributes: bool = True) -> None:
    """A MINC 1 file whose scaling gives the values back: zspace, yspace, xspace."""
    with netcdf_file(path.with_suffix(".cdf"), "w") as out:
        for name, size, step, start, axis in (
            ("zspace", 4, 2.5, -300.0, (0.0, 0, 1)),
            ("yspace", 5, 0.9, -90.0, (0.0, 1, 0)),
            ("xspace", 6, 0.8, -100.0, (1.0, 0, 0)),
        ):
            out.createDimension(name, size)
            one = out.createVariable(name, "i", ())
            one.spacing = b"regular__"
            if attributes:
                one.step, one.start, one.direction_cosines = step, start, axis
        image = out.createVariable("image", "h", ("zspace", "yspace", "xspace"))
        image.signtype = b"signed__"
        image.valid_range = np.array([-32768.0, 32767.0])
        image[:] = voxels.transpose(2, 1, 0)
        for name, value in (("image-max", 32767.0), ("image-min", -32768.0)):
            limit = out.createVariable(name, "d", ("zspace",))
            limit[:] = value
    packing = path.suffix if path.suffix in PACK else ""
    path.write_bytes(PACK[packing](path.with_suffix(".cdf").read_bytes()))
    path.with_suffix(".cdf").unlink()


def itk(path: Path) -> None:
    image = sitk.GetImageFromArray(HU.transpose(2, 1, 0))
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((-100, -90, -300))
    sitk.WriteImage(image, str(path))


def copied(folder: Path, *names: str) -> None:
    """Files of nibabel's own tests."""
    for name in names:
        if not (NIBABELS / name).is_file():
            pytest.skip("nibabel is installed without its test data")
        shutil.copy(NIBABELS / name, folder / name)


def check_mask(path: Path, folder: Path) -> None:
    """A mask of an image is a NIfTI file in the image's grid."""
    image = read_image(path)
    mask = (image.array > np.median(image.array)).astype(np.uint8)
    write_labels(folder / "mask.nii.gz", mask, like=image)
    written = nib.load(folder / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    np.testing.assert_allclose(written.affine, image.grid.affine, atol=1e-4)
    assert int(written.header["sform_code"]) >= 1
