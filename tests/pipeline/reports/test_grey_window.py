"""What is black and white in a picture: of CTs soft tissue, of others most of their voxels."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.pipeline.reports.pictures.grey_window import SOFT_TISSUE, grey_window


def test_a_ct_is_told_by_its_values() -> None:
    hu = np.random.default_rng(0).uniform(-1000, 1500, (40, 40, 40))
    assert grey_window(hu) == grey_window(hu, ct=True) == SOFT_TISSUE
    assert grey_window(hu, ct=False) != SOFT_TISSUE
    for other in (hu + 1024, hu / 2000, hu * 10):  # shifted, scaled, no HU
        low, high = grey_window(other, ct=True)
        assert 0.97 < np.mean((other >= low) & (other <= high)) < 1.0


def test_an_image_of_one_value_has_a_window() -> None:
    assert grey_window(np.full((4, 4, 4), 7)) == (6, 8)


@pytest.mark.parametrize(
    ("dataset", "ct"), [("msd_hippocampus", False), ("openkbp_head_neck", True)]
)
def test_real_scans(shared_data: Path, dataset: str, ct: bool) -> None:
    for path in sorted((shared_data / dataset / "imagesTr").glob("*.nii.gz"))[:5]:
        array = np.asarray(nib.load(path).dataobj)
        low, high = grey_window(array)
        assert ((low, high) == SOFT_TISSUE) is ct, path.name
        if not ct:
            assert np.mean((array >= low) & (array <= high)) > 0.95
