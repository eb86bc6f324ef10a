"""Lists of cases from folders and datasets, label maps by name, and the checks before a run."""

from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import load_dataset, write_dataset_json
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.pipeline.batch.selection import (
    check_dataset,
    check_folder,
    dataset_cases,
    folder_inputs,
    label_map,
)

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
    """A dataset of empty files: none of what is tested here reads an image."""
    names = [f"case_{number}.nii.gz" for number in range(cases)]
    files(root / "imagesTr", *names)
    files(root / "labelsTr", *names)
    files(root / "imagesTs", "unlabelled.nii.gz")
    write_dataset_json(root, "Listed", labels or ORGANS, channels, cases)
    return root


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


# folders of scans


def test_each_image_of_a_folder_is_a_case(tmp_path: Path) -> None:
    files(tmp_path, "b.nii.gz", "a.nrrd", "c.d.nii", "e.MHA", "notes.txt", ".hidden.nii.gz")
    items = folder_inputs(tmp_path, output_dir=tmp_path / "masks").cases
    assert ids(items) == ["a", "b", "c.d", "e"]
    assert items[1] == {"id": "b", "image": str(tmp_path / "b.nii.gz")}
    assert folder_inputs(tmp_path / "b.nii.gz", output_dir=tmp_path / "masks").cases == [items[1]]
    assert folder_inputs(tmp_path / "absent", output_dir=tmp_path / "masks").cases == []


def test_masks_of_an_earlier_run_inside_the_folder_are_no_scans(tmp_path: Path) -> None:
    files(tmp_path / "masks", "a.nii.gz")
    files(tmp_path / "day_1", "a.nii.gz")
    items = folder_inputs(tmp_path, output_dir=tmp_path / "masks").cases
    assert ids(items) == ["day_1/a"]
    assert ids(folder_inputs(tmp_path, output_dir=tmp_path / "masks", flat=True).cases) == [
        "day_1_a"
    ]


def test_check_folder_refuses_what_cannot_be_or_would_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = files(tmp_path / "scans", "a.nii.gz")
    check_folder(scans, tmp_path / "masks")
    check_folder(scans / "a.nii.gz", tmp_path / "masks")
    with pytest.raises(ConfigError, match="no such file or folder"):
        check_folder(tmp_path / "absent", tmp_path / "masks")
    with pytest.raises(ConfigError, match=r"no image in it; looked for .*\.nii\.gz"):
        folder_inputs(files(tmp_path / "texts", "a.txt"), output_dir=tmp_path / "masks")
    (tmp_path / "link").symlink_to(scans)
    monkeypatch.chdir(scans)
    for source in (scans, scans / "a.nii.gz", Path(), tmp_path / "link"):
        for output in (scans, Path(), tmp_path / "link", tmp_path / "masks" / ".." / "scans"):
            with pytest.raises(ConfigError, match="would overwrite"):
                check_folder(source, output)
            with pytest.raises(ConfigError, match="would overwrite"):
                folder_inputs(source, output_dir=output)


# datasets


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
    check_dataset(tmp_path, channels=2, part="all")
    with pytest.raises(DatasetError, match="images of 2 channels, the bundle wants 1"):
        check_dataset(tmp_path, channels=1, part="all")


def test_an_unknown_part_or_fold_is_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    with pytest.raises(ConfigError, match="use train, validation, all or test"):
        dataset_cases(root, part="everything")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="5"):
        dataset_cases(root, fold=5)


def test_three_cases_are_enough_to_evaluate_all_of_them(tmp_path: Path) -> None:
    # too few for five folds, which part=all does not need
    root = dataset(tmp_path / "D", cases=3)
    check_dataset(root, part="all")
    assert len(dataset_cases(root, part="all")) == 3
    with pytest.raises(DatasetError):
        check_dataset(root, part="train")


# labels


@pytest.mark.parametrize(
    ("theirs", "ours", "merge", "wanted"),
    [
        (ORGANS, ["background", "liver", "spleen"], None, {0: 0, 1: 1, 2: 2}),
        # by name, not by value
        (
            {"background": 0, "spleen": 1, "liver": 2},
            ["background", "liver", "spleen"],
            {},
            {0: 0, 1: 2, 2: 1},
        ),
        (
            {"background": 0, "liver": 5, "spleen": 9},
            ["background", "liver", "spleen"],
            {},
            {0: 0, 5: 1, 9: 2},
        ),
        ({"Background": 0, "Left Kidney": 1}, ["background", "left_kidney"], None, {0: 0, 1: 1}),
        ({"background": 0, "left-kidney": 1}, ["background", "LEFT kidney"], None, {0: 0, 1: 1}),
        (
            {"background": 0, "pancreas": 1, "Cancer": 2},
            ["background", "pancreas"],
            {"cancer": "pancreas"},
            {0: 0, 1: 1, 2: 1},
        ),
        (
            {"background": 0, "pancreas": 1, "air pocket": 2},
            ["background", "pancreas"],
            {"air_pocket": "background"},
            {0: 0, 1: 1, 2: 0},
        ),
        # a bundle's standing merge does not trouble a dataset without that label
        (
            {"background": 0, "pancreas": 1},
            ["background", "pancreas"],
            {"cancer": "pancreas"},
            {0: 0, 1: 1},
        ),
        # two labels of theirs, none of which is called as ours
        (
            {"background": 0, "a": 1, "b": 2},
            ["background", "ab"],
            {"a": "ab", "b": "ab"},
            {0: 0, 1: 1, 2: 1},
        ),
    ],
)
def test_label_map_goes_by_name(
    theirs: dict[str, int],
    ours: list[str],
    merge: dict[str, str] | None,
    wanted: dict[int, int],
    tmp_path: Path,
) -> None:
    assert label_map(dataset(tmp_path, labels=theirs), labels=ours, merge_labels=merge) == wanted


@pytest.mark.parametrize(
    ("theirs", "merge"),
    [
        ({"background": 0, "liver": 1}, {}),  # lacks one
        ({"background": 0, "liver": 1, "spleen": 2, "aorta": 3}, {}),  # one too many
        ({"background": 0, "liver": 1, "aorta": 2}, {}),
        (
            {"background": 0, "liver": 1, "spleen": 2, "aorta": 3},
            {"aorta": "vessels"},
        ),  # into what is not ours
        ({"background": 0, "liver": 1, "spleen": 2}, {"spleen": "liver"}),  # then none is left
    ],
)
def test_other_labels_are_refused(
    theirs: dict[str, int], merge: dict[str, str], tmp_path: Path
) -> None:
    root = dataset(tmp_path, labels=theirs)
    with pytest.raises(
        DatasetError, match=r"dataset\.json: its labels are background, liver.*--merge_labels"
    ):
        label_map(root, labels=list(ORGANS), merge_labels=merge)


def test_label_map_of_no_dataset_is_empty(tmp_path: Path) -> None:
    assert label_map(tmp_path / "absent", labels=list(ORGANS)) == {}


# before a training or evaluation


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


def test_the_phantom_dataset_fits(phantom_dataset: Path) -> None:
    check_dataset(phantom_dataset)
    labels = list(load_dataset(phantom_dataset).labels)
    assert label_map(phantom_dataset, labels=labels) == {
        value: value for value in range(len(labels))
    }
    assert all(Path(item["image"]).is_file() for item in dataset_cases(phantom_dataset, part="all"))
