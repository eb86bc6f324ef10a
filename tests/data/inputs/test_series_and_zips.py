"""DICOM series as input, in folders and in zips, and the ids that they get."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gridgate.data.dicom.series import DicomSeries
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError
from gridgate.data.inputs.find import find_cases

from .found import ids, touch

SeriesWriter = Callable[..., list[Path]]


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
