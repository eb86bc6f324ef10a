"""The cases in a folder of scans, and the check before an inference."""

from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.batch.selection import check_folder, folder_inputs


def files(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


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
