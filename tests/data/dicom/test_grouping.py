"""What of a folder's objects is a scan: foreign objects in a series, slices with series of own."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RawDataStorage, SecondaryCaptureImageStorage, generate_uid

from gridgate.data.dicom.seg import write_dicom_seg
from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError
from gridgate.data.inputs.find import find_cases

SeriesWriter = Callable[..., list[Path]]
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def drop(data: Dataset, *tags: str) -> None:
    for tag in tags:
        if tag in data:
            delattr(data, tag)


def as_capture(data: Dataset) -> None:
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.ImageType = ["DERIVED", "SECONDARY"]
    drop(data, *GEOMETRY, "FrameOfReferenceUID")


def as_raw(data: Dataset) -> None:
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = RawDataStorage
    drop(data, *GEOMETRY, "Rows", "Columns", "PixelData")


def as_screenshot(data: Dataset) -> None:
    """Stored as a CT image, which some workstations do."""
    drop(data, *GEOMETRY)
    data.ImageType = ["DERIVED", "SECONDARY"]


def as_page(data: Dataset) -> None:
    """Of another size, with a pixel spacing but no position."""
    drop(data, "ImagePositionPatient", "ImageOrientationPatient")
    data.Rows, data.Columns, data.PixelData = 4, 4, bytes(32)


def as_reformat(data: Dataset) -> None:
    data.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def as_localizer(data: Dataset) -> None:
    data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


@pytest.mark.parametrize(
    "change", [as_capture, as_raw, as_screenshot, as_page, as_reformat, as_localizer]
)
@pytest.mark.parametrize("at", [0, 7])
def test_objects_that_are_no_slices_are_left_out_and_told(
    at: int, change: Callable[[Dataset], None], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = np.random.default_rng(0).integers(0, 3000, (8, 5, 7)).astype(np.uint16)
    slices = [k for k in range(8) if k != at]
    positions = [(0, 0, 2.5 * k) for k in range(8)]
    write_dicom(
        tmp_path,
        pixels=pixels,
        positions=positions,
        change=lambda data, k: change(data) if k == at else None,
    )
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    image = read_series(found.cases[0]["image"])
    expected = pixels[slices].transpose(2, 1, 0).astype(np.float32) - 1024
    np.testing.assert_array_equal(image.array, expected)
    assert len(image.notes) == 1 and image.notes[0].startswith("1 ")
    assert "left out" in image.notes[0]
    assert change is as_localizer or f"CT.{at:04d}" in image.notes[0]


@pytest.mark.parametrize("tag", GEOMETRY)
def test_a_slice_that_lost_one_tag_is_no_foreign_object(
    tag: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, change=lambda data, k: drop(data, tag) if k == 2 else None)
    series, _ = find_series(tmp_path)
    with pytest.raises(ImageError, match=rf"CT\.0002 has no {tag}"):
        read_series(series[0])


def test_original_slices_of_two_planes_are_not_torn_apart(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Dataset, k: int) -> None:
        if k > 2:
            data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_dicom(tmp_path, change=change)
    with pytest.raises(ImageError, match="differ in ImageOrientationPatient"):
        read_series(find_series(tmp_path)[0][0])


@pytest.mark.parametrize("change", [as_screenshot, as_capture])
def test_a_ct_series_without_any_place_is_passed_over(
    change: Callable[[Dataset], None], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path / "ct")
    write_dicom(tmp_path / "pages", series="two", count=2, change=lambda data, k: change(data))
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["ct"]
    assert len(found.passed_over) == 1
    assert "without a place in the patient" in found.passed_over[0].note
    assert str(tmp_path / "pages") in found.passed_over[0].source


def test_files_cut_off_within_their_headers_are_not_passed_over(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    for file in write_dicom(tmp_path):
        content = file.read_bytes()
        file.write_bytes(content[: content.index(b"\x20\x00\x32\x00DS")])  # the position
    series, passed = find_series(tmp_path)
    assert len(series) == 1 and passed == []
    with pytest.raises(ImageError, match="if the file was cut off copy it again"):
        read_series(series[0])


def test_a_named_pipe_is_no_dicom(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert len(find_series(tmp_path)[0]) == 1


# a series for each slice


def own_series(data: Dataset, k: int) -> None:
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["own", str(data.PatientID), str(k)])


@pytest.mark.parametrize("spread", [False, True])
def test_slices_with_a_series_each_are_joined(
    spread: bool, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path / "plain" / "ct")
    expected = read_series(find_series(tmp_path / "plain")[0][0])
    files = write_dicom(tmp_path / "own" / "ct", change=own_series)
    if spread:
        for number, file in enumerate(files):
            (file.parent / str(number)).mkdir()
            file.rename(file.parent / str(number) / "image")
    found = find_cases(tmp_path / "own")
    assert [case["id"] for case in found.cases] == ["ct"] and found.passed_over == []
    image = read_series(found.cases[0]["image"])
    np.testing.assert_array_equal(image.array, expected.array)
    np.testing.assert_array_equal(image.grid.affine, expected.grid.affine)
    assert len(image.notes) == 1
    assert "each of its 6 slices has a SeriesInstanceUID of its own" in image.notes[0]
    again = find_cases(tmp_path / "own")
    assert again.cases == found.cases


def test_a_segmentation_of_joined_slices_refers_to_each_series(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    import highdicom as hd
    import pydicom

    files = write_dicom(tmp_path / "ct", change=own_series)
    series = find_series(tmp_path / "ct")[0][0]
    labels = np.random.default_rng(0).integers(0, 2, (7, 5, 6)).astype(np.uint8)
    write_dicom_seg(tmp_path / "seg.dcm", labels, series=series, names={1: "liver"}, algorithm="x")
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    sources = [pydicom.dcmread(file) for file in files]
    found = seg.get_pixels_by_source_instance([one.SOPInstanceUID for one in sources])
    np.testing.assert_array_equal(found[..., 0], labels.transpose(2, 1, 0))
    assert {
        (one.SeriesInstanceUID, part.ReferencedSOPInstanceUID)
        for one in seg.ReferencedSeriesSequence
        for part in one.ReferencedInstanceSequence
    } == {(one.SeriesInstanceUID, one.SOPInstanceUID) for one in sources}


def differ(tag: str, value: Callable[[int], object]) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        own_series(data, k)
        setattr(data, tag, value(k))

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (differ("FrameOfReferenceUID", lambda k: f"1.2.{k}"), "differ in FrameOfReferenceUID"),
        (differ("StudyInstanceUID", lambda k: f"1.2.{k}"), "differ in StudyInstanceUID"),
        (differ("SeriesNumber", lambda k: k + 1), "differ in SeriesNumber"),
        (differ("SeriesDescription", lambda k: f"part {k}"), "differ in SeriesDescription"),
        (differ("PixelSpacing", lambda k: [0.8, 0.6 + 0.1 * k]), "differ in PixelSpacing"),
        (differ("ImagePositionPatient", lambda k: [0, 0, 5 * (k % 3)]), "straight line"),
        (differ("ImagePositionPatient", lambda k: [9 * (k % 2), 0, 5 * k]), "straight line"),
    ],
)
def test_slices_that_may_be_of_several_scans_fail_once_with_the_reason(
    change: Callable[[Dataset, int], None], text: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path / "ct", change=change)
    found = find_cases(tmp_path)
    assert len(found.cases) == 1 and found.passed_over == []
    with pytest.raises(ImageError, match=rf"6 files \(CT\.0000.*{text}.*export the scan with one"):
        read_series(found.cases[0]["image"])


def test_scans_of_two_patients_are_two(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    for patient in ("P1", "P2"):

        def change(data: Dataset, k: int, patient: str = patient) -> None:
            data.PatientID = patient
            data.StudyInstanceUID = generate_uid(entropy_srcs=[patient])
            own_series(data, k)

        write_dicom(tmp_path, series=patient, name=patient + "{}", change=change)
    series, _ = find_series(tmp_path)
    assert [len(one.files) for one in series] == [6, 6]
    for one in series:
        assert read_series(one).grid.shape == (7, 5, 6)


def test_one_slice_alone_stays_a_series(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "a", count=1)
    write_dicom(tmp_path / "b", series="two")
    series, _ = find_series(tmp_path)
    assert [len(one.files) for one in series] == [1, 6]
    with pytest.raises(ImageError, match="needs two or more"):
        read_series(series[0])


def test_one_instance_uid_for_all_slices(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    import highdicom as hd

    def change(data: Dataset, k: int) -> None:
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    write_dicom(tmp_path / "ct", change=change)
    series, _ = find_series(tmp_path / "ct")
    assert len(series) == 1 and read_series(series[0]).grid.shape == (7, 5, 6)
    labels = np.random.default_rng(0).integers(0, 2, (7, 5, 6)).astype(np.uint8)
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=series[0], names={1: "liver"}, algorithm="x"
    )
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array[::-1].T, labels)
