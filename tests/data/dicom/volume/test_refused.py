"""Series that are no volume: refused with the file, the place, and the reason."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError

from .synthetic import START, UP, only, refusal

SeriesWriter = Callable[..., list[Path]]


def test_two_acquisitions_in_one_series_are_refused(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(
        tmp_path,
        positions=[START + (k % 4) * UP for k in range(8)],
        change=lambda data, k: setattr(data, "AcquisitionNumber", k // 4),
    )
    reason = refusal(tmp_path)
    assert "CT.0000 and CT.0004 are at one place and hold different pixels" in reason
    assert "AcquisitionNumber" in reason


@pytest.mark.parametrize(
    ("count", "gone", "where"),
    [
        (20, (5, 6, 12), "between z = 50 mm and z = 57.5 mm, between z = 67.5 mm and z = 72.5 mm"),
        (80, (30, 31, 32), "between z = 112.5 mm and z = 122.5 mm"),
    ],
)
def test_too_many_missing_slices_are_refused_with_their_places(
    count: int, gone: tuple[int, ...], where: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path, count=count)
    for k in gone:
        files[k].unlink()
    assert f"{len(gone)} slices are missing" in refusal(tmp_path)
    assert where in refusal(tmp_path)


def test_of_three_slices_none_can_be_called_missing(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, positions=[START, START + UP, START + 3 * UP])
    assert "between z = 42.5 mm and z = 47.5 mm" in refusal(tmp_path)


def test_uneven_distances_are_refused(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, positions=[[0, 0, z] for z in (0, 2, 4, 6, 9.1, 11.1)])
    reason = refusal(tmp_path)
    assert "not evenly spaced" in reason and "2 mm (4 times), 3.1 mm (1 times)" in reason
    assert "between z = 6 mm and z = 9.1 mm" in reason


def test_distances_that_change_slowly_are_refused(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, positions=[[0, 0, 2 * k + 0.02 * k * k] for k in range(12)])
    assert "not evenly spaced" in refusal(tmp_path)


def set_tag(tag: str, value: object, *, at: int = 3) -> Callable[[Dataset, int], None]:
    return lambda data, k: setattr(data, tag, value) if k == at else None


def drop_tag(tag: str) -> Callable[[Dataset, int], None]:
    return lambda data, k: delattr(data, tag) if k == 3 else None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            set_tag("ImageOrientationPatient", [1, 0, 0, 0, 0, -1]),
            "differ in ImageOrientationPatient",
        ),
        (
            set_tag("ImageOrientationPatient", [1, 0, 0, 0, 0.5, 0]),
            "not two unit vectors at right angles",
        ),
        (
            set_tag("ImageOrientationPatient", [1, 0, 0]),
            "damaged DICOM header (ImageOrientationPatient",
        ),
        (
            set_tag("PixelSpacing", [0.8, 0.7]),
            "5 files have 0.6 x 0.8 mm, 1 files have 0.7 x 0.8 mm",
        ),
        (set_tag("PixelSpacing", [0, 0.7]), "senseless numbers"),
        (set_tag("RescaleSlope", 0), "senseless numbers"),
        (set_tag("FrameOfReferenceUID", "1.2.3"), "differ in FrameOfReferenceUID"),
        (set_tag("PatientID", "P2"), "5 files have P1, 1 files have P2"),
        (set_tag("PhotometricInterpretation", "RGB"), "not a grey image"),
        (set_tag("NumberOfFrames", 3), "multi-frame"),
        (drop_tag("ImagePositionPatient"), "CT.0003 has no ImagePositionPatient"),
        (drop_tag("PixelSpacing"), "has no PixelSpacing"),
        (drop_tag("Rows"), "has no Rows"),
        (drop_tag("PixelData"), "CT.0003: its pixels cannot be decoded"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_reason(
    change: Callable[[Dataset, int], None], text: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, change=change)
    assert text in refusal(tmp_path)


def test_a_damaged_header_is_refused(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path)
    content = files[2].read_bytes()
    files[2].write_bytes(
        content.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00\x99\x99")
    )  # type of Rows
    assert "CT.0002" in refusal(tmp_path)


def test_other_sizes_are_refused(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, count=4)
    more = np.zeros((2, 6, 7), np.uint16)
    write_dicom(tmp_path, positions=[START + k * UP for k in (4, 5)], pixels=more, name="more{}")
    assert "4 files have 7 x 5 pixels, 2 files have 7 x 6 pixels" in refusal(tmp_path)


def test_one_slice_is_no_volume(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, count=1)
    assert "needs two or more" in refusal(tmp_path)


def test_shifted_fields_of_view_in_one_plane_are_refused(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(
        tmp_path, positions=[START + (k // 2) * UP + [(k % 2) * 30, 0, 0] for k in range(8)]
    )
    assert "two fields of view" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.98, 0.6])
def test_a_file_that_is_cut_off_is_named(
    share: float, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path, pixels=np.ones((4, 40, 40), np.uint16), count=4)
    content = files[2].read_bytes()
    files[2].write_bytes(content[: int(len(content) * share)])
    assert "CT.0002: its pixels cannot be decoded" in refusal(tmp_path)


def test_a_file_that_went_away_is_named(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path)
    series = only(tmp_path)
    files[2].unlink()
    with pytest.raises(ImageError, match=r"CT\.0002 is gone"):
        read_series(series)
