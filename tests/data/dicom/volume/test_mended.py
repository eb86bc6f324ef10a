"""Series that are mended and say so: slices twice or missing, jitter, a tilted gantry."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.dicom.volume import read_series, series_layout

from .synthetic import START, UP, only, read, stored

SeriesWriter = Callable[..., list[Path]]


def test_slices_that_are_there_twice_are_dropped(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels = stored(6)
    write_dicom(tmp_path / "a", pixels=pixels)
    twice = [0, 1, 2, 2, 3, 4, 5, 5]
    write_dicom(tmp_path / "b", pixels=pixels[twice], positions=[START + k * UP for k in twice])
    image = read(tmp_path / "b")
    np.testing.assert_array_equal(image.array, read(tmp_path / "a").array)
    assert (
        len(image.notes) == 1
        and "2 slices that were there twice were dropped (CT.0003, CT.0007)" in image.notes[0]
    )


def test_a_missing_slice_is_interpolated_and_remembered(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = stored(10)
    files = write_dicom(tmp_path, pixels=pixels, count=10)
    files[4].unlink()
    image = read(tmp_path)
    expected = pixels.astype(np.float64) - 1024
    expected[4] = (expected[3] + expected[5]) / 2
    np.testing.assert_allclose(image.array, expected.transpose(2, 1, 0), atol=1e-3)
    assert image.notes == ("1 of 10 slices are missing and were interpolated, at z = 50 mm",)
    layout, headers = series_layout(only(tmp_path))
    assert [None if one is None else Path(headers[one].name).name for one in layout.sources] == [
        *(f"CT.{k:04d}" for k in range(4)), None, *(f"CT.{k:04d}" for k in range(5, 10))
    ]  # fmt: skip


def test_two_neighbours_of_many_are_interpolated_by_thirds(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = stored(42)
    files = write_dicom(tmp_path, pixels=pixels, count=42)
    files[20].unlink()
    files[21].unlink()
    series = only(tmp_path)
    expected = pixels.astype(np.float64) - 1024
    expected[20] = (2 * expected[19] + expected[22]) / 3
    expected[21] = (expected[19] + 2 * expected[22]) / 3
    np.testing.assert_allclose(read_series(series).array, expected.transpose(2, 1, 0), atol=1e-3)
    whole = read_series(series, keep_integers=True).array
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(whole, np.rint(expected).transpose(2, 1, 0))


def test_a_little_jitter_passes_with_a_note(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    shift = [0, 0.06, -0.05, 0.04, 0, 0.01, 0]
    write_dicom(tmp_path, positions=[START + k * UP + [0, 0, shift[k]] for k in range(7)])
    image = read(tmp_path)
    assert image.notes == (
        "slices lie up to 0.06 mm from their regular places; regular spacing is assumed",
    )
    np.testing.assert_allclose(image.grid.spacing, [0.6, 0.8, 2.5])


def test_positions_rounded_to_a_tenth_pass(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path, positions=[[0, 0, round(0.625 * k, 1)] for k in range(17)])
    np.testing.assert_allclose(read(tmp_path).grid.spacing[2], 0.625)


def test_a_tilted_gantry_is_kept_as_shear(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    angle = np.radians(15)
    orientation = (1, 0, 0, 0, np.cos(angle), -np.sin(angle))
    write_dicom(tmp_path, orientation=orientation)
    image = read(tmp_path)
    assert len(image.notes) == 1 and "tilted" in image.notes[0] and "(15 degrees)" in image.notes[0]
    np.testing.assert_allclose(image.grid.affine[:3, 2], [0, 0, 2.5], atol=1e-9)
    np.testing.assert_allclose(
        image.grid.affine[:3, 1], [0, -0.8 * np.cos(angle), -0.8 * np.sin(angle)], atol=1e-8
    )
    assert image.grid.voxel_ml == pytest.approx(0.6 * 0.8 * 2.5 * np.cos(angle) / 1000)
