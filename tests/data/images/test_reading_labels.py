"""Reading label maps: the smallest type that holds them, through any storage."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.geometry.grids import same_grid
from gridgate.data.images.reading import read_grid, read_labels

from .nifti_files import RAMP, SHAPE, nifti, stored


@pytest.mark.parametrize(
    ("highest", "dtype"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16), (70000, np.uint32)],
)
def test_labels_are_the_smallest_unsigned_type(highest: int, dtype: type, tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.int32)
    array[1, 2, 3] = highest
    for storage in (np.int32, np.float32, np.float64):
        labels = read_labels(nifti(tmp_path / "a.nii.gz", array.astype(storage))).array
        assert labels.dtype == dtype
        np.testing.assert_array_equal(labels, array)


def test_labels_through_slope_and_intercept(tmp_path: Path) -> None:
    # 117 classes squeezed by a float32 slope come back as 116.99999...
    path = stored(tmp_path / "a.nii", (RAMP % 118 * 250).astype(np.int16), 1 / 250, 0)
    np.testing.assert_array_equal(read_labels(path).array, RAMP % 118)


def test_real_labels_lie_on_their_scans(shared_data: Path) -> None:
    folder = shared_data / "ct"
    pairs = [
        (path, path.with_name("CT_image.nii.gz"))
        for path in folder.glob("sarcoma_*/CT_mask.nii.gz")
    ]
    pairs.append(
        (folder / "chest_10mm_nrrd/Segmentation.seg.nrrd", folder / "chest_10mm_nrrd/CTChest4.nrrd")
    )
    pairs.append(
        (
            folder / "totalsegmentator_3mm/labels_117.nii.gz",
            folder / "totalsegmentator_3mm/ct.nii.gz",
        )
    )
    for labels, scan in pairs:
        read = read_labels(labels)
        assert read.array.dtype == np.uint8
        assert read.array.any()
        assert same_grid(read.grid, read_grid(scan))


def test_labels_of_the_decathlon_stored_as_they_are_and_as_float(
    shared_data: Path, tmp_path: Path
) -> None:
    for path in sorted(shared_data.glob("msd_hippocampus/labelsTr/*.nii.gz"))[:3]:
        read = read_labels(path)
        assert set(np.unique(read.array)) == {0, 1, 2}
        assert same_grid(read.grid, read_grid(path.parents[1] / "imagesTr" / path.name))
        loaded = nib.load(path)
        nib.save(
            nib.Nifti1Image(loaded.get_fdata(dtype=np.float32), loaded.affine), tmp_path / path.name
        )
        again = read_labels(tmp_path / path.name)
        assert again.array.dtype == np.uint8
        np.testing.assert_array_equal(again.array, read.array)


def test_labels_that_are_all_ignored(tmp_path: Path) -> None:
    path = tmp_path / "l.nii.gz"
    nib.save(nib.Nifti1Image(np.full((2, 3, 4), -1, np.int16), np.eye(4)), path)
    array = read_labels(path, lowest=-1).array
    assert array.dtype == np.int8 and (array == -1).all()
