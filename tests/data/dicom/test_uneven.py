"""Slices that are not evenly spaced: refused by default, else interpolated onto an even grid."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.dicom.seg import write_dicom_seg
from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ConfigError, ImageError, OutputError
from gridgate.transforms import LoadCased, preprocessing

SeriesWriter = Callable[..., list[Path]]
HEAD = [0, 4, 8, 12, 19, 26, 33]  # mm: a head CT, finer at the base of the skull
WINDOW = {"mode": "window", "low": -160, "high": 240}


def only(folder: Path) -> DicomSeries:
    series, _ = find_series(folder)
    assert len(series) == 1
    return series[0]


def stored(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3000, (count, 5, 7)).astype(np.uint16)


def write(
    write_dicom: SeriesWriter, folder: Path, depths: Sequence[float], pixels: np.ndarray
) -> DicomSeries:
    write_dicom(folder, positions=[(-10, -20, z) for z in depths], pixels=pixels)
    return only(folder)


def linear(pixels: np.ndarray, depths: Sequence[float], planes: np.ndarray) -> np.ndarray:
    """(columns, rows, planes) HU, by numpy's own interpolation."""
    hu = pixels.astype(np.float64) - 1024
    found = [
        np.interp(planes, depths, hu[:, row, column])
        for column in range(hu.shape[2])
        for row in range(hu.shape[1])
    ]
    return np.array(found).reshape(hu.shape[2], hu.shape[1], len(planes))


def test_it_is_refused_by_default_and_the_reason_names_the_setting(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    series = write(write_dicom, tmp_path, HEAD, stored(7))
    with pytest.raises(ImageError, match=r"not evenly spaced.*--uneven resample"):
        read_series(series)


@pytest.mark.parametrize(
    ("depths", "count"),
    [
        (HEAD, 9),  # 33 mm are 8 steps of 4 mm, and 1 mm that the last slice covers
        ([0, 4, 8, 12, 20, 28], 8),  # twice the distance: not slices that went missing
        ([0, 8, 16, 20, 24], 7),  # the finer part at the other end
        ([0, 2, 4, 6, 9.1, 11.1], 7),
        ([2 * k + 0.03 * k * k for k in range(12)], None),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16], 17),  # a hole
    ],
)
def test_voxels_are_interpolated_linearly_onto_the_finest_distance(
    depths: list[float], count: int | None, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = stored(len(depths))
    series = write(write_dicom, tmp_path, depths, pixels)
    image = read_series(series, uneven="resample")
    step = image.grid.affine[2, 2]
    finest = min(np.diff(depths))
    assert finest <= step <= finest * 1.05 + 0.1 and (count is None or step == finest)
    assert count is None or image.grid.shape == (7, 5, count)
    planes = step * np.arange(image.grid.shape[2])
    assert abs(planes[-1] - depths[-1]) <= step / 2 + 1e-9
    expected = linear(pixels, depths, np.minimum(planes, depths[-1]))
    np.testing.assert_allclose(image.array, expected, atol=2e-3)
    assert image.grid.affine[2, 3] == depths[0]
    note = image.notes[-1]
    assert f"onto {image.grid.shape[2]} slices {step:.4g} mm apart" in note
    assert "the mask is on that grid" in note
    whole = read_series(series, uneven="resample", keep_integers=True).array
    assert whole.dtype == np.int16
    np.testing.assert_allclose(whole, image.array, atol=0.501)


def test_a_tilted_gantry_is_kept(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    angle = np.radians(15)
    write_dicom(
        tmp_path,
        positions=[(0, 0, z) for z in HEAD],
        orientation=(1, 0, 0, 0, np.cos(angle), -np.sin(angle)),
    )
    image = read_series(only(tmp_path), uneven="resample")
    np.testing.assert_allclose(image.grid.affine[:3, 2], [0, 0, 4], atol=1e-9)
    assert "(15 degrees)" in image.notes[0]


def test_an_even_series_is_not_touched(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, count=6)
    plain, asked = read_series(only(tmp_path)), read_series(only(tmp_path), uneven="resample")
    np.testing.assert_array_equal(plain.array, asked.array)
    assert asked.notes == ()


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([(0, 0, 0), (0, 0, 4), (9, 0, 8), (0, 0, 15)], "beside a straight line"),
        ([(0, 0, 0), (0, 0, 0.05), (0, 0, 40), (0, 0, 80)], "only 0.05 mm apart"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(
    positions: list[tuple[float, ...]], text: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, positions=positions)
    with pytest.raises(ImageError, match=text):
        read_series(only(tmp_path), uneven="resample")


def test_the_setting_reaches_the_reader(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    series = write(write_dicom, tmp_path, HEAD, stored(7))
    for transform in (
        LoadCased("image", uneven="resample"),
        preprocessing(intensity=WINDOW, uneven="resample"),
    ):
        assert tuple(transform({"image": series})["image"].shape) == (1, 7, 5, 9)
    with pytest.raises(ConfigError, match="uneven: refuse or resample is wanted"):
        preprocessing(intensity=WINDOW, uneven="yes")  # type: ignore[arg-type]


def test_no_segmentation_of_slices_that_the_mask_does_not_have(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    series = write(write_dicom, tmp_path / "ct", HEAD, stored(7))
    with pytest.raises(OutputError, match="even grid between them"):
        write_dicom_seg(
            tmp_path / "seg.dcm",
            np.zeros((7, 5, 9), np.uint8),
            series=series,
            names={1: "liver"},
            algorithm="x",
        )
