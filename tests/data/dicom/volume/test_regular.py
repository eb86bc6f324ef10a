"""Volumes of regular series: order, geometry, rescaling, types of voxels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from gridgate.data.dicom.layout import lay_out
from gridgate.data.dicom.slices import SliceHeader
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError

from .synthetic import START, UP, only, read, stored

SeriesWriter = Callable[..., list[Path]]


def test_voxels_and_affine_are_as_worked_out_by_hand(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = stored(6)
    write_dicom(tmp_path, pixels=pixels)
    image = read(tmp_path)
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024)
    # columns 0.6 mm apart to the left, rows 0.8 mm to the back, slices 2.5 mm up; RAS+ turns the
    # first two around
    expected = [[-0.6, 0, 0, 100], [0, -0.8, 0, 80], [0, 0, 2.5, 40], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.grid.affine, expected, atol=1e-9)
    assert image.grid.shape == (7, 5, 6)
    assert (image.notes, image.header, image.path) == ((), None, tmp_path)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, 0, 0, -1), (-1, 0, 0, 0, 1, 0)],
)
def test_the_volume_is_that_of_simpleitk(
    orientation: tuple[float, ...], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    write_dicom(
        tmp_path, positions=[START - k * 3.0 * normal for k in range(5)], orientation=orientation
    )
    image = read(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    expected = reader.Execute()
    np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(expected).T)
    for index in [(0, 0, 0), (6, 0, 0), (0, 4, 0), (0, 0, 4), (6, 4, 4)]:
        lps = np.array(expected.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(
            (image.grid.affine @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-6
        )


def test_names_and_numbers_of_files_do_not_count(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels, order = stored(7), [4, 0, 6, 2, 5, 1, 3]
    write_dicom(tmp_path / "a", pixels=pixels, count=7)
    write_dicom(
        tmp_path / "b",
        pixels=pixels[order],
        positions=[START + k * UP for k in order],
        change=lambda data, k: setattr(data, "InstanceNumber", (k * 5) % 7),
    )
    a, b = read(tmp_path / "a"), read(tmp_path / "b")
    np.testing.assert_array_equal(a.array, b.array)
    np.testing.assert_array_equal(a.grid.affine, b.grid.affine)
    assert b.notes == ()


def test_each_slice_has_its_own_rescaling(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    def change(data: Dataset, k: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = 0.5 + k, -10 * k

    pixels = stored(4)
    write_dicom(tmp_path, pixels=pixels, count=4, change=change)
    scale = np.arange(4)[:, None, None]
    np.testing.assert_allclose(
        read(tmp_path).array, (pixels * (0.5 + scale) - 10 * scale).transpose(2, 1, 0), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("slope", "intercept", "highest", "dtype"),
    [
        (1, -1024, 3000, np.int16),
        (1, 0, 60000, np.int32),
        (1, 0.5, 3000, np.float32),
        (0.5, 0, 3000, np.float32),
    ],
)
def test_whole_numbers_can_be_kept(
    slope: float,
    intercept: float,
    highest: int,
    dtype: type,
    tmp_path: Path,
    write_dicom: SeriesWriter,
) -> None:
    def change(data: Dataset, k: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = slope, intercept

    pixels = stored(6)
    pixels[3, 2, 2] = highest
    write_dicom(tmp_path, pixels=pixels, change=change)
    array = read_series(only(tmp_path), keep_integers=True).array
    assert array.dtype == dtype
    np.testing.assert_array_equal(
        array, (pixels.astype(np.float64) * slope + intercept).transpose(2, 1, 0)
    )
    assert read(tmp_path).array.dtype == np.float32


def test_threads_do_not_change_the_volume(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path, count=30)
    series = only(tmp_path)
    for keep in (False, True):
        one, four = (read_series(series, keep_integers=keep, threads=threads) for threads in (1, 4))
        np.testing.assert_array_equal(one.array, four.array)
        assert one.array.dtype == four.array.dtype
    files[17].write_bytes(files[17].read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"CT\.0017: its pixels cannot be decoded"):
        read_series(series, threads=4)


@settings(max_examples=60, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    tilt=st.floats(-30, 30),
    order=st.permutations(range(6)),
    gap=st.floats(0.5, 10),
)
def test_every_pixel_lies_where_the_standard_says(
    turn: tuple[float, float, float], tilt: float, order: list[int], gap: float
) -> None:
    rotation = np.array(sitk.Euler3DTransform((0, 0, 0), *np.radians(turn)).GetMatrix()).reshape(
        3, 3
    )
    along, down, normal = rotation.T
    step = gap * (normal + np.tan(np.radians(tilt)) * down)
    positions = [START + k * step for k in order]
    headers = [
        SliceHeader(
            str(k),
            "",
            tuple(place),
            tuple(along),
            tuple(down),
            (7, 5),
            (0.6, 0.8),
            (),
            (),
            1.0,
            0.0,
        )
        for k, place in enumerate(positions)
    ]
    layout = lay_out(headers)
    assert sorted(layout.sources) == list(range(6))  # type: ignore[type-var]
    for z, source in enumerate(layout.sources):
        # PS3.3 C.7.6.2.1.1: position + column index x spacing x row direction + row index x spacing
        # x column direction
        lps = positions[source or 0] + 3 * 0.6 * along + 2 * 0.8 * down
        np.testing.assert_allclose(
            (layout.affine @ [3, 2, z, 1])[:3], lps * [-1, -1, 1], atol=0.011
        )
