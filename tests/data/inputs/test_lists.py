"""Lists as input: text files of paths, tables, and lists that are malformed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.inputs.find import find_cases

from .found import ids, touch

SeriesWriter = Callable[..., list[Path]]


def write_list(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_list(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    touch(tmp_path, "here/scans/a.nii", "here/scans/b.nii", "there/1/ct.nii", "there/2/ct.nii")
    write_dicom(tmp_path / "here" / "dicom")
    lines = [
        "# a comment",
        "",
        "scans/a.nii",
        "scans/gone.nii",
        "  dicom  ",
        f"{tmp_path}/there/2/ct.nii",
    ]
    path = write_list(
        tmp_path / "here" / "list.txt", "\n".join([*lines, "../there/1/ct.nii", "scans/a.nii"])
    )
    found = find_cases(path)
    assert ids(found) == ["scans/a", "scans/gone", "dicom", "2/ct", "1/ct"]
    assert found.cases[1]["image"] == str(tmp_path / "here/scans/gone.nii")
    assert [(one.source, one.note) for one in found.passed_over] == [
        (str(tmp_path / "here/scans/a.nii"), f"it is listed twice in {path}")
    ]


def test_a_list_of_single_dicom_files_gives_their_series_once(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path / "p")
    found = find_cases(write_list(tmp_path / "list.txt", "\n".join(str(file) for file in files)))
    assert ids(found) == ["p"] and len(found.passed_over) == 5


def test_a_listed_folder_without_images_is_a_case_that_fails(tmp_path: Path) -> None:
    touch(tmp_path, "empty/readme.md", "a.nii")
    found = find_cases(write_list(tmp_path / "list.txt", "empty\na.nii\n"))
    assert ids(found) == ["empty", "a"]
    with pytest.raises(ImageError, match="empty: no image in it"):
        read_series(found.cases[0]["image"])


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_a_table(comma: str, tmp_path: Path, write_dicom: SeriesWriter) -> None:
    touch(tmp_path, "a.nii", "b c.nii", "folder/x.nii", "folder/y.nii")
    rows = [
        ["ID", "age", "Path"],
        ["first", "7", "a.nii"],
        ["", "8", '"b c.nii"'],
        ["both", "9", "folder"],
    ]
    path = write_list(
        tmp_path / "list.csv", "\ufeff" + "\r\n".join(comma.join(row) for row in rows) + "\r\n\r\n"
    )
    assert ids(find_cases(path)) == ["first", "b c", "both_x", "both_y"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("l.txt", "# nothing\n", "no path in the list"),
        ("l.csv", "file,id\na.nii,1\n", "none of the columns image, path, input"),
        ("l.csv", "", "none of the columns"),
        ("l.csv", "id,image\n1,\n", "row 2 has no path"),
        ("l.csv", "id,image\na,a.nii\nA,b.nii\n", "the id 'A' is there twice"),
        ("l.csv", "id,image\n../a,a.nii\n", "the id '../a' is not safe"),
        ("l.csv", "id,image\n/a,a.nii\n", "the id '/a' is not safe"),
        ("l.csv", "id,image\na:b,a.nii\n", "the id 'a:b' is not safe"),
    ],
)
def test_malformed_lists_are_refused(name: str, text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        find_cases(write_list(tmp_path / name, text))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="not UTF-8"):
        find_cases(tmp_path / "l.txt")
