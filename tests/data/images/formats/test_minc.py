"""MINC 1 and 2."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.reading import (
    read_grid,
    read_image,
    read_labels,
)
from gridgate.data.inputs.find import find_cases

from .written import HU, NIBABELS, RAS, SHAPE, check_mask, copied, itk, minc1


@pytest.mark.parametrize("name", ["a.mnc", "a.mnc.gz", "a.mnc.bz2"])
def test_minc_1_is_read(name: str, tmp_path: Path) -> None:
    minc1(tmp_path / name)
    image = read_image(tmp_path / name)
    # The array has the file's axes, z y x; as a NIfTI of the canonical order it is HU again.
    assert image.array.shape == (4, 5, 6) and image.notes == ()
    turned = nib.as_closest_canonical(nib.Nifti1Image(image.array, image.grid.affine))
    np.testing.assert_allclose(turned.get_fdata(), HU, atol=1e-3)
    np.testing.assert_allclose(turned.affine, RAS, atol=1e-4)
    np.testing.assert_array_equal(read_grid(tmp_path / name).affine, image.grid.affine)
    check_mask(tmp_path / name, tmp_path)
    (tmp_path / "mask.nii.gz").unlink()
    assert [case["id"] for case in find_cases(tmp_path).cases] == ["a"]
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.int16)
    minc1(tmp_path / name, voxels=labels)
    np.testing.assert_array_equal(read_labels(tmp_path / name).array, labels.transpose(2, 1, 0))


def test_minc_without_steps_is_doubtful(tmp_path: Path) -> None:
    minc1(tmp_path / "a.mnc", attributes=False)
    image = read_image(tmp_path / "a.mnc")
    np.testing.assert_array_equal(image.grid.spacing, [1, 1, 1])
    assert [note.startswith("geometry: voxels of 1 mm") for note in image.notes] == [True]


def test_mincs_own_files(tmp_path: Path) -> None:
    copied(tmp_path, "minc1_1_scale.mnc", "minc2_1_scale.mnc", "minc1_4d.mnc", "minc2_4d.mnc")
    copied(tmp_path, "small.mnc", "minc2-no-att.mnc", "minc2_baddim.mnc")
    one, two = (read_image(tmp_path / f"minc{k}_1_scale.mnc") for k in (1, 2))
    seen = nib.load(NIBABELS / "minc1_1_scale.mnc")
    np.testing.assert_allclose(one.array, seen.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(one.grid.affine, seen.affine)
    # The same volume as MINC 2, whose axes come in the other order.
    np.testing.assert_allclose(two.array, one.array.transpose(2, 1, 0), rtol=1e-5)
    np.testing.assert_allclose(two.grid.affine, one.grid.affine[:, [2, 1, 0, 3]])
    assert one.notes == two.notes == ()
    # As nibabel's tests state it for small.mnc.
    small = read_image(tmp_path / "small.mnc")
    affine = np.array([[7.0, 0, 0, -98], [0, 8, 0, -134], [0, 0, 9, -72], [0, 0, 0, 1]])
    np.testing.assert_allclose(small.grid.affine, affine)
    assert small.array.mean() == pytest.approx(31.2127952, rel=1e-6)
    np.testing.assert_allclose(read_grid(tmp_path / "small.mnc").affine, affine)
    assert read_image(tmp_path / "minc2-no-att.mnc").notes[-1].startswith("geometry: ")
    check_mask(tmp_path / "small.mnc", tmp_path)
    with pytest.raises(ImageError, match=r"minc1_4d\.mnc: .*time among them"):
        read_image(tmp_path / "minc1_4d.mnc")
    with pytest.raises(ImageError, match=r"minc2_baddim\.mnc: .*SimpleITK can"):
        read_image(tmp_path / "minc2_baddim.mnc")
    several = read_image(tmp_path / "minc2_4d.mnc", channels=2)
    expected = nib.load(NIBABELS / "minc1_4d.mnc").get_fdata()
    np.testing.assert_allclose(several.array, expected.transpose(0, 3, 2, 1), rtol=1e-5)


def test_a_minc_file_of_itk_may_be_mirrored(tmp_path: Path) -> None:
    itk(tmp_path / "a.mnc")
    image = read_image(tmp_path / "a.mnc", keep_integers=True)
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, RAS)
    assert "geometry: " in image.notes[0] and "check left and right" in image.notes[0]
    (tmp_path / "b.mnc.gz").write_bytes(gzip.compress((tmp_path / "a.mnc").read_bytes()))
    with pytest.raises(ImageError, match=r"b\.mnc\.gz: a compressed MINC 2 file"):
        read_image(tmp_path / "b.mnc.gz")
