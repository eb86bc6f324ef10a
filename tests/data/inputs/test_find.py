"""What a user can give as input, and the ids that cases get."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.dicom.series import DicomSeries
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.inputs.find import Inputs, find_cases
from gridgate.data.inputs.ids import safe_id, unique_ids, why_unsafe

SeriesWriter = Callable[..., list[Path]]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def ids(inputs: Inputs) -> list[str]:
    return [case["id"] for case in inputs.cases]


def write_list(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# folders of images


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


# DICOM


def test_series_are_named_after_their_folders(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    touch(tmp_path, "x.nii.gz")
    write_dicom(tmp_path / "p1")
    write_dicom(tmp_path / "p2" / "ct", series="two")
    write_dicom(
        tmp_path / "p3",
        series="three",
        name="a{}",
        change=lambda data, k: setattr(data, "SeriesNumber", 2),
    )
    write_dicom(tmp_path / "p3", series="four", name="b{}")
    found = find_cases(tmp_path)
    assert ids(found) == ["p1", "p2/ct", "p3_2_Abdomen", "p3_3_Abdomen", "x"]
    assert all(isinstance(case["image"], DicomSeries) for case in found.cases[:4])
    assert ids(find_cases(tmp_path, flat=True))[1] == "p2_ct"
    assert ids(find_cases(tmp_path / "p1")) == ["p1"]
    assert ids(find_cases(tmp_path / "p3" / "a2")) == ["p3"]


def test_series_of_one_description_are_told_apart(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    for word in ("one", "two", "three"):
        write_dicom(tmp_path / "p", series=word, name=word + "{}")
    found = find_cases(tmp_path)
    assert len(set(ids(found))) == 3
    for case in found.cases:
        assert case["id"] == f"p_3_Abdomen_{case['image'].uid[-8:].replace('.', '_')}"


def test_an_id_does_not_depend_on_a_bad_slice(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "p", name="{}.dcm")
    write_dicom(tmp_path / "q", series="two")
    before = ids(find_cases(tmp_path))
    files[2].write_bytes(b"")
    assert ids(find_cases(tmp_path)) == before


def test_zips_are_cases(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "files")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "in" / "sub" / "p1.ZIP", "w") as archive:
        for file in files:
            archive.write(file)
    (tmp_path / "in" / "broken.zip").write_bytes(b"PK\x03\x04 not really")
    with zipfile.ZipFile(tmp_path / "in" / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    found = find_cases(tmp_path / "in")
    assert ids(found) == ["broken", "sub/p1"]
    with pytest.raises(ImageError, match=r"broken\.zip: the zip is damaged"):
        read_series(found.cases[0]["image"])
    assert read_series(found.cases[1]["image"]).grid.shape == (7, 5, 6)
    assert [one.note for one in found.passed_over] == ["no DICOM image in the zip"]
    assert ids(find_cases(tmp_path / "in" / "sub" / "p1.ZIP")) == ["p1"]
    assert ids(find_cases(tmp_path / "in" / "broken.zip")) == ["broken"]


def test_a_copied_series_in_one_zip_is_two_cases(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for file in files:
            archive.write(file, f"a/{file.name}")
            archive.write(file, f"b/{file.name}")
    found = find_cases(tmp_path / "p.zip")
    assert (
        len({case["id"].lower() for case in found.cases})
        == len({str(case["image"]) for case in found.cases})
        == 2
    )
    assert read_series(found.cases[1]["image"]).notes == ()


# lists


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


# ids

PARTS = st.text(st.characters(exclude_characters="/", codec=None), max_size=12) | st.sampled_from(
    [
        "..",
        ".",
        " ",
        "con",
        "a.nii.gz",
        "A",
        "a",
        "ä",
        "a\u0308",
        "x" * 300,
        "\udc80",
        "a:b",
        "nul.txt",
    ]
)


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.booleans())
def test_ids_are_safe(name: str, flat: bool) -> None:
    made = safe_id(name, flat=flat)
    assert safe_id(made, flat=flat) == made and why_unsafe(made) is None
    assert flat is False or "/" not in made
    root = Path("/masks")
    assert os.path.normpath(root / made) == str(root / made)
    assert (root / made).is_relative_to(root) and made
    made.encode()
    for part in made.split("/"):
        assert part not in ("", ".", "..") and len(part.encode()) <= 180
        assert not part.startswith(".") and not part.endswith((".", " "))
        assert not set(part) & set('<>:"\\|?*\0\n')
    assert not any(
        part.lower().endswith((".nii.gz", ".nii", ".dcm")) for part in made.split("/")[:-1]
    )


@given(
    st.lists(
        st.tuples(st.sampled_from("aAbBäÄ"), st.sampled_from(["a", "a_nii", "A_NII", "b", "c"]))
    )
)
def test_ids_are_unique_whatever_the_case(wanted: list[tuple[str, str]]) -> None:
    made = unique_ids(wanted)
    assert len({name.casefold() for name in made}) == len(wanted)
    for (name, _), one in zip(wanted, made, strict=True):
        if [other.lower() for other, _ in wanted].count(name.lower()) == 1:
            assert one == name


@given(
    st.sets(
        st.tuples(
            st.sampled_from(["", "p/", "P/", "p_q/", "p/q/"]),
            st.sampled_from(["a", "A", "a_nii", "q_a", "a.b"]),
            st.sampled_from([".nii", ".nii.gz", ".NRRD", ".mha"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_no_two_files_give_one_mask(files: set[tuple[str, str, str]], flat: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), *("".join(file) for file in files))
        found = find_cases(folder, flat=flat)
    assert sorted(os.path.relpath(case["image"], folder) for case in found.cases) == sorted(
        "".join(f) for f in files
    )
    assert len({name.lower() for name in ids(found)}) == len(files)
