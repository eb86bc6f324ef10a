"""Datasets that have a file for each channel, and names that only look as if they had."""

from pathlib import Path

import pytest

from gridgate.data.datasets.dataset import DatasetCase, load_dataset
from gridgate.data.errors import DatasetError

from .dataset_folders import NEW, PAIR, folder, old


def test_a_file_a_channel(tmp_path: Path) -> None:
    content = NEW | {"channel_names": {"0": "CT", "1": "PET"}, "numTraining": 1}
    images = [
        f"{where}_{number}.nii.gz"
        for where in ("imagesTr/a", "imagesTs/t")
        for number in ("0001", "0000")
    ]
    dataset = load_dataset(folder(tmp_path, content, "labelsTr/a.nii.gz", *images))
    assert [path.name for path in dataset.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert [path.name for path in dataset.test_cases[0].images] == [
        "t_0000.nii.gz",
        "t_0001.nii.gz",
    ]
    assert dataset.cases[0].id == "a"
    assert dataset.test_cases[0].id == "t"


def test_nnunets_single_channel_names(tmp_path: Path) -> None:
    files = (
        "imagesTr/a_0000.nii.gz",
        "imagesTr/b_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "labelsTr/b.nii.gz",
    )
    assert [case.id for case in load_dataset(folder(tmp_path, NEW, *files)).cases] == ["a", "b"]


def test_ids_that_end_like_a_channel_number(tmp_path: Path) -> None:
    files = [
        f"{where}/img_{number}.nii.gz"
        for where in ("imagesTr", "labelsTr")
        for number in ("0001", "0002")
    ]
    dataset = load_dataset(folder(tmp_path, NEW, *files, "imagesTs/img_0003.nii.gz"))
    assert [case.id for case in dataset.cases] == ["img_0001", "img_0002"]
    assert [case.id for case in dataset.test_cases] == ["img_0003"]


@pytest.mark.parametrize("channels", [1, 2])
def test_nnunet_v1_lists_names_without_their_channel_numbers(channels: int, tmp_path: Path) -> None:
    """As nnU-Net v1 writes it: `./imagesTr/a.nii.gz` for imagesTr/a_0000.nii.gz, a_0001, ..."""
    content = old(
        ("./imagesTr/a[1].nii.gz", "./labelsTr/a[1].nii.gz"), test=["./imagesTs/t.nii.gz"]
    ) | {"modality": {str(number): f"M{number}" for number in range(channels)}}
    files = [
        f"{case}_{number:04d}.nii.gz"
        for case in ("imagesTr/a[1]", "imagesTs/t", "imagesTr/other")
        for number in range(channels)
    ]
    root = folder(tmp_path, content, *files, "labelsTr/a[1].nii.gz")
    dataset = load_dataset(root)
    assert dataset.cases == (
        DatasetCase(
            "a[1]",
            tuple(root / f"imagesTr/a[1]_{number:04d}.nii.gz" for number in range(channels)),
            root / "labelsTr/a[1].nii.gz",
        ),
    )
    (test,) = dataset.test_cases
    assert test.id == "t" and len(test.images) == channels


def test_a_listed_file_that_is_there_comes_before_its_channels(tmp_path: Path) -> None:
    root = folder(tmp_path, old(PAIR), *PAIR, "imagesTr/a_0000.nii.gz")
    assert load_dataset(root).cases[0].images == (root / PAIR[0],)


def test_a_listed_case_without_its_first_channel(tmp_path: Path) -> None:
    files = ("imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    with pytest.raises(DatasetError, match=r"a\.nii\.gz: .*channels \[1\], not 0 up to 1"):
        load_dataset(folder(tmp_path, old(PAIR), *files))
