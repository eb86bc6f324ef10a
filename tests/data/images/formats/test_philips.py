"""Philips' PAR and REC."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.reading import (
    read_axes,
    read_grid,
    read_image,
)
from gridgate.data.inputs.find import find_cases

from .written import NIBABELS, check_mask, copied

PHILIPS = ("phantom_EPI_asc_CLEAR_2_1", "phantom_varscale")


@pytest.mark.parametrize("name", PHILIPS)
def test_philips_is_read_with_the_consoles_values(name: str, tmp_path: Path) -> None:
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    seen = nib.load(NIBABELS / f"{name}.PAR")
    volumes = seen.shape[3] if len(seen.shape) > 3 else 1
    values = seen.get_fdata() if volumes == 1 else np.moveaxis(seen.get_fdata(), -1, 0)
    for suffix in ("PAR", "REC"):
        image = read_image(tmp_path / f"{name}.{suffix}", channels=volumes)
        np.testing.assert_allclose(image.array, values, rtol=1e-6)
        np.testing.assert_allclose(image.grid.affine, seen.affine)
    assert "scanner's console" in image.notes[0]
    np.testing.assert_allclose(read_grid(tmp_path / f"{name}.REC").affine, seen.affine)
    assert read_axes(tmp_path / f"{name}.PAR") == seen.shape
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == [name] and found.passed_over == []


def test_a_volume_of_philips_gives_a_mask(tmp_path: Path) -> None:
    name = PHILIPS[0]
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    lines = (tmp_path / f"{name}.PAR").read_text().splitlines(keepends=True)
    # One line per slice behind the general part: keep those of the first dynamic.
    kept = [line for line in lines if not line.strip() or line[0] in "#." or line.split()[2] == "1"]
    text = "".join(kept).replace("dynamics            :   3", "dynamics            :   1")
    (tmp_path / f"{name}.PAR").write_text(text)
    seen = nib.load(tmp_path / f"{name}.PAR")
    assert len(seen.shape) == 3
    image = read_image(tmp_path / f"{name}.PAR")
    np.testing.assert_allclose(image.array, seen.get_fdata(), rtol=1e-6)
    check_mask(tmp_path / f"{name}.PAR", tmp_path)


def test_philips_cut_off(tmp_path: Path) -> None:
    name = PHILIPS[0]
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    body = (tmp_path / f"{name}.REC").read_bytes()
    (tmp_path / f"{name}.REC").write_bytes(body[:-100])
    with pytest.raises(ImageError, match=r"\.PAR: .*cut off or damaged"):
        read_image(tmp_path / f"{name}.PAR", channels=3)
    copied(tmp_path, "phantom_truncated.PAR", "phantom_truncated.REC")
    with pytest.raises(ImageError, match=r"truncated\.PAR: its PAR header cannot be understood"):
        read_image(tmp_path / "phantom_truncated.PAR")
