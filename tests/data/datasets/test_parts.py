"""The cases of one part of a dataset."""

from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import ConfigError, DatasetError

ORGANS = {"background": 0, "liver": 1, "spleen": 2}


def files(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def dataset(root: Path, *, cases: int = 5) -> Path:
    """A dataset of empty files: nothing here reads an image."""
    names = [f"case_{number}.nii.gz" for number in range(cases)]
    files(root / "imagesTr", *names)
    files(root / "labelsTr", *names)
    files(root / "imagesTs", "unlabelled.nii.gz")
    write_dataset_json(root, "Listed", ORGANS, ("CT",), cases)
    return root


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_parts_of_a_dataset(tmp_path: Path) -> None:
    root = dataset(tmp_path, cases=7)
    everything = [f"case_{number}" for number in range(7)]
    assert ids(dataset_cases(root, part="all")) == everything
    assert dataset_cases(root, part="test") == [
        {"id": "unlabelled", "image": str(root / "imagesTs" / "unlabelled.nii.gz")}
    ]
    held_out = []
    for fold in range(3):
        train = ids(dataset_cases(root, part="train", fold=fold, folds=3))
        validation = ids(dataset_cases(root, part="validation", fold=fold, folds=3))
        assert sorted(train + validation) == everything
        held_out += validation
    assert sorted(held_out) == everything
    assert dataset_cases(root, part="all")[2] == {
        "id": "case_2",
        "image": str(root / "imagesTr" / "case_2.nii.gz"),
        "label": str(root / "labelsTr" / "case_2.nii.gz"),
    }
    assert dataset_cases(tmp_path / "absent") == []


def test_of_one_fold_all_train_and_none_validates(tmp_path: Path) -> None:
    root = dataset(tmp_path, cases=3)
    (root / "splits.json").write_text('[{"train": ["case_0"], "validation": ["case_1"]}]')
    assert ids(dataset_cases(root, part="train")) == ["case_0"]
    assert ids(dataset_cases(root, part="train", folds=1)) == ["case_0", "case_1", "case_2"]
    assert dataset_cases(root, part="validation", folds=1, most=2, rank=1, world_size=2) == []


def test_processes_share_the_cases(tmp_path: Path) -> None:
    root = dataset(tmp_path, cases=7)
    parts = [ids(dataset_cases(root, part="all", rank=rank, world_size=3)) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    assert sorted([case for part in parts for case in part]) == ids(dataset_cases(root, part="all"))


def test_images_of_several_channels_are_a_list(tmp_path: Path) -> None:
    names = ["p1_0000.nii.gz", "p1_0001.nii.gz"]
    files(tmp_path / "imagesTr", *names)
    files(tmp_path / "labelsTr", "p1.nii.gz")
    write_dataset_json(tmp_path, "Two", ORGANS, ("T1", "T2"), 1)
    (item,) = dataset_cases(tmp_path, part="all")
    assert item["image"] == [str(tmp_path / "imagesTr" / name) for name in names]


def test_an_unknown_part_or_fold_is_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    with pytest.raises(ConfigError, match="use train, validation, all or test"):
        dataset_cases(root, part="everything")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="5"):
        dataset_cases(root, fold=5)


def test_some_of_the_cases_are_evenly_chosen(tmp_path: Path) -> None:
    root = dataset(tmp_path, cases=7)
    some = dataset_cases(root, part="all", most=3)  # 0, 7/3 and 14/3, rounded down
    assert ids(some) == ["case_0", "case_2", "case_4"]
    assert len(dataset_cases(root, part="all", most=70)) == 7
    shares = [dataset_cases(root, part="all", most=4, rank=rank, world_size=2) for rank in (0, 1)]
    assert [ids(share) for share in shares] == [["case_0", "case_3"], ["case_1", "case_5"]]
    for impossible in (0, 2.5, True, "two"):
        with pytest.raises(ConfigError, match=f"validation_cases {impossible}"):
            dataset_cases(root, part="all", most=impossible)  # type: ignore[arg-type]
