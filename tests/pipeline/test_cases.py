"""Lists of cases from folders, and the checks before a run."""

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.errors import ConfigError, DatasetError, ImageError
from gridgate.pipeline.batch.selection import (
    check_dataset,
    check_folder,
    dataset_cases,
    folder_inputs,
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


# before a training


def test_check_dataset_writes_the_splits_and_protects_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, output = dataset(tmp_path / "D"), tmp_path / "out"
    monkeypatch.setenv("RANK", "1")
    check_dataset(root, output_dir=output)
    assert not output.exists(), "the first process writes, the others do not"
    monkeypatch.delenv("RANK")
    check_dataset(root, output_dir=output)
    assert sorted(path.name for path in output.iterdir()) == ["settings.json", "splits.json"]
    check_dataset(
        root, output_dir=output
    )  # a training that was stopped before its first epoch's end
    (output / "last.pt").write_bytes(b"weights")
    with pytest.raises(ConfigError, match="holds a training already; add --resume True"):
        check_dataset(root, output_dir=output)
    check_dataset(root, output_dir=output, resume=True)
    with pytest.raises(ConfigError, match="split_seed 0"):
        check_dataset(root, output_dir=output, resume=True, split_seed=1)
    assert (output / "last.pt").read_bytes() == b"weights"
    assert not (root / "splits.json").exists(), "the dataset's folder is the user's"


def test_a_training_is_resumed_with_its_own_network_only(tmp_path: Path) -> None:
    root, output = dataset(tmp_path / "D"), tmp_path / "out"
    network = {"name": "uctransnet", "img_size": [32, 48, 32]}
    check_dataset(root, output_dir=output, settings={"network": network})
    check_dataset(root, output_dir=output, resume=True, settings={"network": dict(network)})
    with pytest.raises(ConfigError, match=r"resume it with network \{'name': 'uctransnet'"):
        check_dataset(root, output_dir=output, resume=True, settings={"network": {"name": "unet"}})


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
        check_dataset(root, fold=fold, folds=2, output_dir=tmp_path / "out")
    assert re.search(r"labelsTr/case_\d\.nii\.gz: case case_\d.*imagesTr/case_", str(caught.value))
    assert not (tmp_path / "out").exists()
    check_dataset(root, part="all")


def test_a_header_that_cannot_be_read_ends_a_training_before_it_begins(tmp_path: Path) -> None:
    root = dataset(tmp_path / "D", cases=4)
    (root / "labelsTr" / "case_3.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"labelsTr/case_3\.nii\.gz: the file is empty"):
        check_dataset(root, folds=2)


def test_the_phantom_dataset_fits(phantom_dataset: Path) -> None:
    check_dataset(phantom_dataset)
    assert all(Path(item["image"]).is_file() for item in dataset_cases(phantom_dataset, part="all"))
