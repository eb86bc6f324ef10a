"""AFNI's files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.reading import (
    read_axes,
    read_grid,
    read_image,
    read_labels,
)
from gridgate.data.inputs.find import find_cases

from .written import AFFINE, HU, NIBABELS, SHAPE, afni, check_mask, copied


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2"])
def test_afni_is_read_by_either_file(packing: str, tmp_path: Path) -> None:
    afni(tmp_path / "a+orig.HEAD", packing=packing)
    for name in ("a+orig.HEAD", f"a+orig.BRIK{packing}"):
        image = read_image(tmp_path / name, keep_integers=True)
        np.testing.assert_array_equal(image.array, HU)
        assert image.array.dtype == np.int16 and image.notes == ()
        np.testing.assert_allclose(image.grid.affine, AFFINE)
        np.testing.assert_array_equal(read_grid(tmp_path / name).affine, image.grid.affine)
        assert read_axes(tmp_path / name)[:3] == SHAPE
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["a+orig"] and found.passed_over == []
    found = find_cases(tmp_path / f"a+orig.BRIK{packing}")
    assert [case["id"] for case in found.cases] == ["a+orig"] and found.passed_over == []
    check_mask(tmp_path / "a+orig.HEAD", tmp_path)


def test_afnis_factor_is_applied(tmp_path: Path) -> None:
    afni(tmp_path / "a.HEAD", factor=0.5)
    np.testing.assert_allclose(read_image(tmp_path / "a.HEAD").array, HU * 0.5)
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.uint8)
    afni(tmp_path / "l.HEAD", voxels=labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.HEAD").array, labels)


def test_afnis_own_files_as_nibabel_reads_them(tmp_path: Path) -> None:
    copied(tmp_path, "scaled+tlrc.HEAD", "scaled+tlrc.BRIK")
    copied(tmp_path, "example4d+orig.HEAD", "example4d+orig.BRIK.gz")
    seen = nib.load(NIBABELS / "scaled+tlrc.HEAD")
    image = read_image(tmp_path / "scaled+tlrc.HEAD")
    np.testing.assert_allclose(image.array, seen.get_fdata()[..., 0], rtol=1e-6)
    np.testing.assert_allclose(image.grid.affine, seen.affine)
    several = read_image(tmp_path / "example4d+orig.HEAD", channels=3)
    seen = nib.load(NIBABELS / "example4d+orig.HEAD")
    np.testing.assert_array_equal(several.array, np.moveaxis(seen.get_fdata(), -1, 0))
    with pytest.raises(ImageError, match=r"a volume of one channel has three"):
        read_image(tmp_path / "example4d+orig.HEAD")


def test_an_afni_header_that_cannot_be_used(tmp_path: Path) -> None:
    afni(tmp_path / "a.HEAD")
    text = (tmp_path / "a.HEAD").read_text()
    (tmp_path / "a.HEAD").write_text(text.replace("IJK_TO_DICOM_REAL", "OTHER"))
    with pytest.raises(ImageError, match=r"a\.HEAD: .*it lacks IJK_TO_DICOM_REAL"):
        read_image(tmp_path / "a.HEAD")
    (tmp_path / "a.HEAD").write_text(text.replace("0.8 0 0 -100", "0 0 0 -100"))
    with pytest.raises(ImageError, match=r"a\.HEAD: .*no usable geometry"):
        read_grid(tmp_path / "a.HEAD")
    (tmp_path / "a.HEAD").write_text(text)
    body = (tmp_path / "a.BRIK").read_bytes()
    (tmp_path / "a.BRIK").write_bytes(body[:-7])
    with pytest.raises(ImageError, match=r"a\.HEAD: .*cut off or damaged"):
        read_image(tmp_path / "a.HEAD")
    (tmp_path / "a.BRIK").rename(tmp_path / "b.BRIK")
    with pytest.raises(ImageError, match=r"its voxels a\.BRIK are not beside it"):
        read_image(tmp_path / "a.HEAD")
    with pytest.raises(ImageError, match=r"its header b\.HEAD is not beside it"):
        read_image(tmp_path / "b.BRIK")
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["a"]
    assert [one.source for one in found.passed_over] == [str(tmp_path / "b.BRIK")]
