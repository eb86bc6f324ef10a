"""A training on labels that lie elsewhere or hold unnamed values ends before it begins."""

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import DatasetError, user_error

from ..small_bundle import train


def spoilt(phantom_dataset: Path, root: Path, *, voxel: int = 0, shift: float = 0.0) -> Path:
    """A copy of the dataset in which one case's label is changed."""
    shutil.copytree(phantom_dataset, root)
    path = root / "labelsTr" / "phantom_003.nii.gz"
    label = nib.load(path)
    array = np.asarray(label.dataobj, dtype=np.uint8).copy()
    array[0, 0, :3] = voxel
    affine = label.affine.copy()
    affine[:3, 3] += (0, 0, shift)
    path.unlink()
    nib.save(nib.Nifti1Image(array, affine), path)
    return root


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"voxel": 99}, r"labelsTr/phantom_003\.nii\.gz: .*does not name: 99 \(3 of \d+ voxels\)"),
        ({"shift": 120.0}, r"labelsTr/phantom_003\.nii\.gz: .*imagesTr.*120\.0 mm apart"),
    ],
)
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_whatever_half_of_the_fold_it_is_in(
    change: dict[str, float], said: str, fold: int, phantom_dataset: Path, tmp_path: Path
) -> None:
    dataset, output = spoilt(phantom_dataset, tmp_path / "D", **change), tmp_path / "out"  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r".") as caught:
        train(dataset, output, fold=fold)
    error = user_error(caught.value)
    assert isinstance(error, DatasetError)
    assert re.search(said, str(error)), error
    assert not list(output.rglob("*.pt"))
