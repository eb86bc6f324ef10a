"""Folders of images as input: which files become cases, and with which ids."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.inputs.find import find_cases

from .found import ids, touch

SeriesWriter = Callable[..., list[Path]]


def test_a_folder_keeps_its_structure(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.nii.gz",
        "a.nrrd",
        "sub/dir/c.d.nii",
        "sub/e.MHA",
        "notes.txt",
        ".hidden.nii",
        ".git/f.nii",
    )
    found = find_cases(tmp_path)
    assert ids(found) == ["a", "b", "sub/dir/c.d", "sub/e"]
    assert found.cases[2]["image"] == str(tmp_path / "sub/dir/c.d.nii")
    assert ids(find_cases(tmp_path, flat=True)) == ["a", "b", "sub_dir_c.d", "sub_e"]
    assert ids(find_cases(tmp_path, recursive=False)) == ["a", "b"]
    assert find_cases(tmp_path / "b.nii.gz").cases == [
        {"id": "b", "image": str(tmp_path / "b.nii.gz")}
    ]


def test_images_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{k}.nii.gz" for k in range(20)), "table.xlsx")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    assert len(find_cases(tmp_path).cases) == 20


def test_what_wants_one_id_keeps_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "s/a.nii.gz", "s/a.nrrd", "s/A_nrrd.nii", "s/b.nii", "a.nii")
    found = {
        os.path.relpath(case["image"], tmp_path): case["id"] for case in find_cases(tmp_path).cases
    }
    assert found == {
        "a.nii": "a",
        "s/A_nrrd.nii": "s/A_nrrd",
        "s/a.nii.gz": "s/a_nii_gz",
        "s/a.nrrd": "s/a_nrrd_",
        "s/b.nii": "s/b",
    }


def test_flat_ids_that_meet_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a_b/c.nii", "a/b_c.nii", "a/b/c.nii")
    found = ids(find_cases(tmp_path, flat=True))
    assert len({name.lower() for name in found}) == 3


def test_the_output_folder_is_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "cts/a.nii.gz", "cts/masks/a.nii.gz", "cts/skip.nii")
    (tmp_path / "cts" / "link").symlink_to(tmp_path / "cts" / "masks")
    found = find_cases(
        tmp_path / "cts", exclude=[tmp_path / "cts" / "masks", str(tmp_path / "cts" / "skip.nii")]
    )
    assert ids(found) == ["a"]
    assert (
        len(find_cases(tmp_path / "cts", exclude=[tmp_path]).cases) == 3
    )  # masks beside the folder of scans
    with pytest.raises(ConfigError, match="the input is the output folder"):
        find_cases(tmp_path / "cts", exclude=[tmp_path / "cts"])


def test_a_folder_without_images_says_what_was_looked_for(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    touch(tmp_path, "readme.md")
    with pytest.raises(ConfigError, match=r"no image in it; looked for \.nii\.gz.*DICOM"):
        find_cases(tmp_path)
    write_dicom(tmp_path, change=lambda data, k: setattr(data, "Modality", "MR"))
    with pytest.raises(ConfigError, match=r"1 passed over, such as .*its modality is MR"):
        find_cases(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        find_cases(tmp_path / "absent")


def test_a_folder_that_cannot_be_listed_is_a_case_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.nii", "locked/b.nii")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_cases(tmp_path)
    assert ids(found) == ["a", "locked"]
    with pytest.raises(
        ImageError, match=r"locked: the folder cannot be listed \(Permission denied\)"
    ):
        read_series(found.cases[1]["image"])
