"""Which series a folder holds, whatever its files are called."""

import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage, RawDataStorage, SecondaryCaptureImageStorage

from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError

SeriesWriter = Callable[..., list[Path]]


def setting(**tags: object) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        for tag, value in tags.items():
            setattr(data, tag, value)

    return change


def test_series_are_found_whatever_the_files_are_called(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path / "a", name="{}")
    write_dicom(tmp_path / "a", name="IM-{}.dcm", series="two", change=setting(SeriesNumber=1))
    write_dicom(tmp_path / "a" / "deeper", name="1.2.840.{}", series="three")
    (tmp_path / "a" / "preview.png").write_bytes(b"\x89PNG" + bytes(300))
    (tmp_path / "a" / "notes").write_text("no DICOM at all, " * 20)
    series, passed = find_series(tmp_path)
    assert [(one.folder, one.number, len(one.files)) for one in series] == [
        (tmp_path / "a", "1", 6),
        (tmp_path / "a", "3", 6),
        (tmp_path / "a" / "deeper", "3", 6),
    ]
    assert passed == []
    assert series[0].modality == "CT" and series[0].description == "Abdomen"
    assert str(series[0]) == f"{tmp_path / 'a'} (series {series[0].uid})"


def test_a_series_is_the_same_from_run_to_run(
    tmp_path: Path, write_dicom: SeriesWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("one", "two", "three"):
        write_dicom(tmp_path, name=word + "{}", series=word)
    first, _ = find_series(tmp_path)
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path: Path) -> None:
            with scandir(path) as listing:
                self.entries = list(listing)
            random.Random(3).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert find_series(tmp_path)[0] == first
    assert pickle.loads(pickle.dumps(first)) == first
    assert len({*first, *find_series(tmp_path)[0]}) == 3


def test_files_without_preamble_are_dicom_too(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path)
    expected = read_series(find_series(tmp_path)[0][0]).array
    for file in files:
        data = pydicom.dcmread(file)
        del data.file_meta
        data.preamble = None
        with open(file, "wb") as stream:
            data.save_as(stream, implicit_vr=True, little_endian=True)
        assert file.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_series(find_series(tmp_path)[0][0]).array, expected)


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"Modality": "MR"}, "its modality is MR, not CT; 6 files"),
        ({"Modality": "SEG"}, "a segmentation (SEG), not a scan"),
        ({"Modality": "RTSTRUCT"}, "contours"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer, not a volume"),
        ({"SOPClassUID": RawDataStorage, "Rows": None}, "no pixels"),
        (
            {"SOPClassUID": SecondaryCaptureImageStorage, "ImagePositionPatient": None},
            "secondary captures",
        ),
    ],
)
def test_what_is_no_ct_is_passed_over_with_a_note(
    tags: dict[str, object], note: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Dataset, k: int) -> None:
        for tag, value in tags.items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)

    write_dicom(tmp_path, change=change)
    series, passed = find_series(tmp_path)
    assert series == []
    assert len(passed) == 1 and note in passed[0].note and str(tmp_path) in passed[0].source


def test_other_modalities_are_taken_when_asked_for(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, change=setting(Modality="MR"))
    assert (
        len(find_series(tmp_path, modality="mr")[0])
        == len(find_series(tmp_path, modality=None)[0])
        == 1
    )


def test_a_localizer_in_a_series_is_left_out_with_a_note(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(
        tmp_path,
        change=lambda data, k: (
            setattr(data, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]) if k == 0 else None
        ),
    )
    image = read_series(find_series(tmp_path)[0][0])
    assert image.grid.shape == (7, 5, 5)
    assert image.notes == ("1 localizer images of the series were left out",)


def test_a_dicomdir_is_ignored(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path)
    data = pydicom.dcmread(tmp_path / "CT.0000")
    data.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    data.save_as(tmp_path / "DICOMDIR", enforce_file_format=False)
    series, passed = find_series(tmp_path)
    assert len(series) == 1 and len(series[0].files) == 6 and passed == []


def test_a_series_may_be_spread_over_folders(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    for number, file in enumerate(write_dicom(tmp_path / "all")):
        (tmp_path / "spread" / str(number)).mkdir(parents=True)
        file.rename(tmp_path / "spread" / str(number) / "image")
    series, _ = find_series(tmp_path)
    assert [one.folder for one in series] == [tmp_path / "spread"]
    assert read_series(series[0]).grid.shape == (7, 5, 6)


def test_copies_in_two_folders_are_two_series(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "a")
    write_dicom(tmp_path / "b")
    series, _ = find_series(tmp_path)
    assert [one.folder for one in series] == [tmp_path / "a", tmp_path / "b"]
    assert len({str(one) for one in series}) == 2
    assert read_series(series[0]).notes == ()


@pytest.mark.parametrize("shared", [1, 3])
def test_folders_with_some_slices_in_common_are_one_series(
    tmp_path: Path, write_dicom: SeriesWriter, shared: int
) -> None:
    whole = write_dicom(tmp_path / "whole", count=9)
    first, second = tmp_path / "cts/disk1", tmp_path / "cts/disk2"
    for folder, part in ((first, whole[: 4 + shared]), (second, whole[4:])):
        folder.mkdir(parents=True)
        for file in part:
            shutil.copy(file, folder)
    series, _ = find_series(tmp_path / "cts")
    assert [one.folder for one in series] == [tmp_path / "cts"]
    image = read_series(series[0])
    assert np.array_equal(image.array, read_series(find_series(tmp_path / "whole")[0][0]).array)
    assert any(f"{shared} slices that were there twice" in note for note in image.notes)


def test_a_part_of_a_copy_says_so(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    for file in write_dicom(tmp_path / "a")[4:] + write_dicom(tmp_path / "b")[:0]:
        file.unlink()
    part, whole = find_series(tmp_path)[0]
    assert part.notes == (
        f"its 4 files are a part of the series, the whole of which is in {tmp_path / 'b'}",
    )
    assert whole.notes == () and len(whole.files) == 6


@pytest.mark.parametrize("attribute", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_one_series_uid_for_several_patients(
    tmp_path: Path, write_dicom: SeriesWriter, attribute: str
) -> None:
    for number in (1, 2, 3):

        def change(data: Any, k: int, number: int = number) -> None:
            data[attribute].value = f"1.2.{number}"
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.3.{number}.{k}"

        write_dicom(tmp_path / f"p{number}", change=change)
    series, _ = find_series(tmp_path)
    assert [one.folder.name for one in series] == ["p1", "p2", "p3"]
    for one in series:
        assert read_series(one).grid.shape == (7, 5, 6)
        assert "that of other patients" in one.notes[0]
    assert len({str(one) for one in series}) == 3


def test_patients_in_one_folder_are_not_taken_apart(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Any, k: int) -> None:
        data.PatientID = f"P{k % 2}"

    write_dicom(tmp_path / "a", change=change)
    series, _ = find_series(tmp_path)
    assert len(series) == 1 and series[0].notes == ()


def test_files_without_series_uid_are_one_series_a_folder(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path / "a", change=setting(SeriesInstanceUID=""))
    write_dicom(tmp_path / "b", change=setting(SeriesInstanceUID=""))
    series, _ = find_series(tmp_path)
    assert [one.folder for one in series] == [tmp_path / "a", tmp_path / "b"]
    assert "no SeriesInstanceUID" in series[0].notes[0]


def test_one_file_means_its_series_in_its_folder(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, name="{}")
    files = write_dicom(tmp_path, name="x{}", series="two", count=4)
    series, _ = find_series(files[2])
    assert [one.files for one in series] == [tuple(str(file) for file in files)]


@pytest.mark.parametrize("content", [b"", b"not DICOM" * 30])
def test_a_damaged_file_beside_a_series_is_told(
    content: bytes, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path, name="{}.dcm")
    files[5].write_bytes(content)
    series, passed = find_series(tmp_path)
    assert read_series(series[0]).notes == (
        "1 files beside it are damaged and may belong to it: 5.dcm",
    )
    assert [one.source for one in passed] == [str(files[5])]


def test_a_folder_of_damaged_files_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"rubbish" * 40)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "_SUCCESS").write_bytes(b"")
    series, passed = find_series(tmp_path)
    assert [one.folder for one in series] == [tmp_path / "a"] and passed == []
    with pytest.raises(
        ImageError, match=r"a: no DICOM file in it can be read; 1\.dcm: it is named like"
    ):
        read_series(series[0])


def test_links_in_a_circle_end(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    series, _ = find_series(tmp_path)
    assert len(series) == 1


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        find_series(tmp_path / "absent")


def test_a_problem_is_raised_on_reading() -> None:
    series = DicomSeries("", "", "", Path("/a"), (), problem="/a: the folder cannot be listed")
    with pytest.raises(ImageError, match=r"^/a: the folder cannot be listed$"):
        read_series(series)
    assert str(series) == "/a"
