"""Volumes of synthetic series: order, geometry, rescaling, and what is mended or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from gridgate.data.dicom.layout import lay_out
from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.slices import SliceHeader
from gridgate.data.dicom.volume import read_series, series_layout
from gridgate.data.errors import ImageError
from gridgate.data.images.reading import Image

SeriesWriter = Callable[..., list[Path]]
START = np.array([-100.0, -80.0, 40.0])
UP = np.array([0.0, 0.0, 2.5])


def only(folder: Path) -> DicomSeries:
    series, _ = find_series(folder)
    assert len(series) == 1
    return series[0]


def read(folder: Path) -> Image:
    return read_series(only(folder))


def refusal(folder: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


def stored(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3000, (count, 5, 7)).astype(np.uint16)


# regular series


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


# mended


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


# refused


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


# for any geometry


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
