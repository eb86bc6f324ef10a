"""Before a run: what keeps a dataset from being trained or evaluated on."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.check import check_dataset
from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError, ImageError

ORGANS = {"background": 0, "liver": 1, "spleen": 2}


def files(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def dataset(
    root: Path,
    *,
    cases: int = 5,
    labels: dict[str, int] | None = None,
    channels: tuple[str, ...] = ("CT",),
) -> Path:
    """A dataset of tiny images; a training looks at where the labels lie."""
    for name in (f"case_{number}.nii.gz" for number in range(cases)):
        for folder in ("imagesTr", "labelsTr"):
            nib.save(
                nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)),
                files(root / folder) / name,
            )
    files(root / "imagesTs", "unlabelled.nii.gz")
    write_dataset_json(root, "Listed", labels or ORGANS, channels, cases)
    return root


def test_channels_are_those_of_the_bundle(tmp_path: Path) -> None:
    files(tmp_path / "imagesTr", "p1_0000.nii.gz", "p1_0001.nii.gz")
    files(tmp_path / "labelsTr", "p1.nii.gz")
    write_dataset_json(tmp_path, "Two", ORGANS, ("T1", "T2"), 1)
    check_dataset(tmp_path, channels=2, part="all")
    with pytest.raises(DatasetError, match="images of 2 channels, the bundle wants 1"):
        check_dataset(tmp_path, channels=1, part="all")


def test_three_cases_are_enough_to_evaluate_all_of_them(tmp_path: Path) -> None:
    # too few for five folds, which part=all does not need
    root = dataset(tmp_path / "D", cases=3)
    check_dataset(root, part="all")
    assert len(dataset_cases(root, part="all")) == 3
    with pytest.raises(DatasetError):
        check_dataset(root, part="train")


def test_check_dataset_says_what_to_do_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"absent: there is no such dataset folder; .*gridgate phantom"
    ):
        check_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        check_dataset(files(tmp_path / "empty"))
    root = dataset(tmp_path / "D")
    (root / "imagesTs" / "unlabelled.nii.gz").unlink()
    with pytest.raises(DatasetError, match="no test case in it"):
        check_dataset(root, part="test")


@pytest.mark.parametrize("fold", [0, 1])
def test_a_label_elsewhere_than_its_image_is_refused_before_training(
    fold: int, tmp_path: Path
) -> None:
    """Whether it is a training or a validation case; an evaluation goes case by case."""
    root = dataset(tmp_path / "D", cases=4)
    moved = np.eye(4)
    moved[:3, 3] = (0, 30, 40)
    for case in ("case_1", "case_2"):
        path = root / "labelsTr" / f"{case}.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), moved), path)
    with pytest.raises(DatasetError, match=r"50\.0 mm apart.*The same in 1 more: case_") as caught:
        check_dataset(root, fold=fold, folds=2)
    assert re.search(r"labelsTr/case_\d\.nii\.gz: case case_\d.*imagesTr/case_", str(caught.value))
    check_dataset(root, part="all")


def test_a_header_that_cannot_be_read_ends_a_training_before_it_begins(tmp_path: Path) -> None:
    root = dataset(tmp_path / "D", cases=4)
    (root / "labelsTr" / "case_3.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"labelsTr/case_3\.nii\.gz: the file is empty"):
        check_dataset(root, folds=2)


def test_the_phantom_dataset_fits(phantom_dataset: Path) -> None:
    check_dataset(phantom_dataset)
    assert all(Path(item["image"]).is_file() for item in dataset_cases(phantom_dataset, part="all"))


def test_where_none_is_held_out_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    root = dataset(tmp_path / "D", cases=4)
    check_dataset(root, folds=1)
    (told,) = caplog.messages
    assert (
        told
        == f"{root}: 4 of 4 labelled cases are trained on, and none is held out: no Dice "
        + ("is measured")
    )
    own = root / "splits_final.json"
    own.write_text('[{"train": ["case_0", "case_1"], "val": []}]')
    caplog.clear()
    check_dataset(root, folds=1)
    assert caplog.messages[0] == f"{own}: does not count, as --folds 1 trains on all cases"
    caplog.clear()
    check_dataset(root)
    assert "fold 0 leaves out 2 of 4" in caplog.messages[0]
    assert "2 of 4 labelled cases are trained on, and none is held out" in caplog.messages[1]
    with pytest.raises(DatasetError, match="no validation case in it: the fold holds none out"):
        check_dataset(root, part="validation")
