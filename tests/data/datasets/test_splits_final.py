"""nnU-Net's splits_final.json: in the dataset's folder, or a file of the user's choice."""

import json
from pathlib import Path

import pytest

from gridgate.data.datasets.check import check_dataset
from gridgate.data.datasets.dataset import Dataset, DatasetCase
from gridgate.data.datasets.folds import left_out, load_or_make_splits
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError

NNUNET = [
    {"train": ["phantom_000", "phantom_001", "phantom_002"], "val": ["phantom_003"]},
    {"train": ["phantom_003", "phantom_004"], "val": ["phantom_000", "phantom_005"]},
]


@pytest.fixture
def folder(phantom_dataset: Path, tmp_path: Path) -> Path:
    """The phantom dataset in a folder that may be written to."""
    made = tmp_path / "D"
    made.mkdir()
    for entry in phantom_dataset.iterdir():
        (made / entry.name).symlink_to(entry)
    return made


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def ids(folder: Path, **options: object) -> list[str]:
    return [item["id"] for item in dataset_cases(folder, **options)]  # type: ignore[arg-type]


def test_the_datasets_own_file_decides_the_folds(folder: Path) -> None:
    write(folder / "splits_final.json", NNUNET)
    assert ids(folder, part="train", fold=0) == NNUNET[0]["train"]
    assert ids(folder, part="validation", fold=1, folds=7) == NNUNET[1]["val"]
    with pytest.raises(
        DatasetError, match=r"splits_final\.json: there is no fold 2; choose 0 to 1"
    ):
        ids(folder, fold=2)


def test_a_file_that_is_asked_for_comes_first(folder: Path, tmp_path: Path) -> None:
    write(folder / "splits_final.json", NNUNET[:1])
    chosen = write(tmp_path / "nnUNet_preprocessed" / "D1" / "splits_final.json", NNUNET[::-1])
    assert ids(folder, fold=0, splits=chosen) == NNUNET[1]["val"]
    assert ids(folder, part="all", splits=chosen) == [f"phantom_{k:03d}" for k in range(6)]


def test_two_files_must_agree(folder: Path) -> None:
    write(folder / "splits_final.json", NNUNET)
    ours = [{"train": one["train"][::-1], "validation": one["val"]} for one in NNUNET]
    write(folder / "splits.json", ours)
    assert ids(folder, fold=1) == NNUNET[1]["val"]
    write(folder / "splits.json", ours[:1])
    with pytest.raises(DatasetError, match=r"splits\.json and splits_final\.json hold different"):
        ids(folder)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{"train": ["phantom_000"], "val": ["gone"]}], "names the case gone"),
        ([{"train": ["phantom_000"], "val": ["phantom_000"]}], "trains and validates on"),
        ([{"train": [], "val": ["phantom_000"]}], "fold 0 has no"),
        ({"train": []}, "is not a list of folds"),
    ],
)
def test_unusable_files_are_told(content: object, told: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"mine\.json: .*{told}"):
        ids(folder, splits=write(tmp_path / "mine.json", content))


def test_a_file_that_is_not_there_and_a_pickle_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no\.json: there is no such file; give --splits"):
        ids(folder, splits=tmp_path / "no.json")
    (tmp_path / "splits_final.pkl").write_bytes(b"")
    with pytest.raises(DatasetError, match="a pickle may run code and is not read"):
        ids(folder, splits=tmp_path / "splits_final.pkl")


def test_cases_in_neither_half_are_a_warning(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = write(tmp_path / "mine.json", NNUNET)
    check_dataset(folder, fold=0, splits=chosen)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"{chosen}: fold 0 leaves out 2 of 6 cases, such as phantom_004"
    caplog.clear()
    check_dataset(folder, part="all", fold=0, splits=chosen)
    check_dataset(folder, fold=0)
    assert caplog.records == []


def test_left_out_and_copies(tmp_path: Path) -> None:
    cases = tuple(DatasetCase(name, (tmp_path / name,), tmp_path / name) for name in "abcd")
    dataset = Dataset(tmp_path, "d", {"background": 0}, ("CT",), cases, ())
    chosen = write(tmp_path / "s.json", [{"train": ["c", "a"], "val": ["b"]}])
    splits = load_or_make_splits(dataset, splits=chosen, path=tmp_path / "kept.json")
    assert left_out(dataset, splits[0]) == ["d"]
    # what a training keeps is a file of folds too, and other folds are another training
    assert load_or_make_splits(dataset, splits=tmp_path / "kept.json") == splits
    write(tmp_path / "s.json", [{"train": ["c", "a"], "val": ["d"]}])
    with pytest.raises(DatasetError, match=r"holds other folds than this run's; give those it had"):
        load_or_make_splits(dataset, splits=chosen, path=tmp_path / "kept.json")
