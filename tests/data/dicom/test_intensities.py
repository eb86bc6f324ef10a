"""CTs whose headers do not say, or say wrongly, how stored values become HU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.images.reading import Image

SeriesWriter = Callable[..., list[Path]]
EnhancedWriter = Callable[..., Path]
DOUBT = "intensities: "


def body(count: int = 6, air: bool = True) -> np.ndarray:
    """(slices, rows, columns) HU: soft tissue with noise, and air around it."""
    random = np.random.default_rng(5)
    hu = random.normal(40, 25, (count, 20, 24)).round().astype(np.int16)
    if air:
        hu[:, :, :8] = random.normal(-1000, 3, (count, 20, 8)).round().clip(-1024)
    hu[:, 4:6, 10:12] = 700
    return hu


def dropping(
    *tags: str, slices: tuple[int, ...] | None = None, **values: object
) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        for tag, value in values.items():
            setattr(data, tag, value)
        for tag in tags if slices is None or k in slices else ():
            delattr(data, tag)

    return change


def read(folder: Path, modality: str | None = "CT") -> Image:
    series, _ = find_series(folder, modality=modality)
    assert len(series) == 1
    return read_series(series[0], keep_integers=True)


def check(image: Image, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(image.array, expected.transpose(2, 1, 0))


@pytest.mark.parametrize("tags", [("RescaleIntercept",), ("RescaleIntercept", "RescaleSlope")])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("air", [True, False])
def test_values_stored_as_hu_plus_1024_are_shifted(
    air: bool, signed: bool, tags: tuple[str, ...], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    hu = body(air=air)
    pixels = (hu + 1024).astype(np.int16 if signed else np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping(*tags))
    image = read(tmp_path)
    check(image, hu)
    assert image.array.dtype == np.int16
    assert len(image.notes) == 1 and "-1024 is added" in image.notes[0]
    assert tags[0] in image.notes[0] and not image.notes[0].startswith(DOUBT)


def test_a_slope_that_is_there_counts(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    hu = body()
    pixels = ((hu + 1024) * 2).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping("RescaleIntercept", RescaleSlope=0.5))
    np.testing.assert_allclose(read(tmp_path).array, hu.transpose(2, 1, 0))


def test_values_with_air_at_minus_1000_are_hu(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    hu = body()
    write_dicom(tmp_path, pixels=hu, change=dropping("RescaleIntercept", "RescaleSlope"))
    image = read(tmp_path)
    check(image, hu)
    assert len(image.notes) == 1 and "taken as HU" in image.notes[0]


def test_empty_tags_are_missing_tags(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping(RescaleIntercept=None, RescaleSlope=None))
    image = read(tmp_path)
    check(image, body())
    assert "-1024 is added" in image.notes[0]


def test_padding_does_not_decide(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    """Padding at 0 around a liver is not air, and at -2000 it makes no value negative."""
    hu = body()
    pixels = (hu + 1024).astype(np.int16)
    pixels[:, :4] = -2000

    def change(data: Dataset, k: int) -> None:
        data.add_new("PixelPaddingValue", "SS", -2000)
        del data.RescaleIntercept

    write_dicom(tmp_path, pixels=pixels, change=change)
    image = read(tmp_path)
    np.testing.assert_array_equal(image.array[:, 4:], hu.transpose(2, 1, 0)[:, 4:])
    assert "-1024 is added" in image.notes[0]


@pytest.mark.parametrize(
    "pixels",
    [
        np.random.default_rng(0).integers(0, 256, (6, 20, 24)).astype(np.uint16),
        np.random.default_rng(0).integers(0, 2, (6, 20, 24)).astype(np.uint16),
        np.random.default_rng(0).integers(30000, 31000, (6, 20, 24)).astype(np.uint16),
        np.random.default_rng(0).integers(-200, 300, (6, 20, 24)).astype(np.int16),
    ],
    ids=["bytes", "zero_or_one", "far_off", "signed_without_air"],
)
def test_what_cannot_be_told_is_left_with_a_doubt(
    pixels: np.ndarray, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path, pixels=pixels, change=dropping("RescaleIntercept", "RescaleSlope"))
    image = read(tmp_path)
    check(image, pixels)
    doubts = [note for note in image.notes if note.startswith(DOUBT)]
    assert len(doubts) == 1 and "left as stored" in doubts[0]


def test_another_modality_needs_no_rescaling(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    change = dropping("RescaleIntercept", "RescaleSlope", Modality="MR")
    write_dicom(tmp_path, pixels=pixels, change=change)
    image = read(tmp_path, modality="MR")
    check(image, pixels)
    assert image.notes == ()


def test_a_missing_slope_is_1(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping("RescaleSlope"))
    image = read(tmp_path)
    check(image, body())
    assert image.notes == ("RescaleSlope is missing; 1 is taken",)


@pytest.mark.parametrize("tags", [("RescaleIntercept",), ("RescaleIntercept", "RescaleSlope")])
def test_some_slices_without_rescaling_take_that_of_their_neighbours(
    tags: tuple[str, ...], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping(*tags, slices=(0, 3)))
    image = read(tmp_path)
    check(image, body())
    assert len(image.notes) == 1
    assert "missing in 2 of 6 slices (CT.0000, CT.0003)" in image.notes[0]
    assert "intercept -1024" in image.notes[0]


def test_some_slices_that_hold_hu_already_stay(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    hu = body()

    def change(data: Dataset, k: int) -> None:
        if k in (1, 4):
            data.PixelRepresentation, data.PixelData = 1, hu[k].astype("<i2").tobytes()
            del data.RescaleIntercept, data.RescaleSlope

    write_dicom(tmp_path, pixels=(hu + 1024).astype(np.uint16), change=change)
    image = read(tmp_path)
    check(image, hu)
    assert "2 get no rescaling" in image.notes[0]


@pytest.mark.parametrize(
    ("kind", "doubtful"), [("HU", None), ("US", False), ("Z_EFF", True), ("ED", True)]
)
def test_another_kind_of_values_is_told(
    kind: str, doubtful: bool | None, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping(RescaleType=kind))
    image = read(tmp_path)
    check(image, body())
    assert len(image.notes) == (doubtful is not None)
    if doubtful is not None:
        assert kind in image.notes[0] and image.notes[0].startswith(DOUBT) == doubtful


def test_values_that_a_header_calls_hu_and_that_are_none(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    pixels = (body() + 1024).astype(np.uint16)
    write_dicom(tmp_path, pixels=pixels, change=dropping(RescaleIntercept=0))
    image = read(tmp_path)
    check(image, pixels)
    assert len(image.notes) == 1 and image.notes[0].startswith(DOUBT + "no value is below 0")


def test_functional_groups_without_rescaling(
    tmp_path: Path, write_enhanced: EnhancedWriter
) -> None:
    def change(data: Dataset) -> None:
        del data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence

    positions = [(0, 0, 2.0 * k) for k in range(6)]
    pixels = (body() + 1024).astype(np.uint16)
    write_enhanced(tmp_path / "ct.dcm", positions=positions, pixels=pixels, change=change)
    image = read(tmp_path)
    check(image, body())
    assert "-1024 is added" in image.notes[0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_monochrome1_is_for_display_only(
    signed: bool, implicit: bool, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    hu = body()
    pixels = (hu + 1024).astype(np.int16 if signed else np.uint16)
    files = write_dicom(
        tmp_path, pixels=pixels, change=dropping(PhotometricInterpretation="MONOCHROME1")
    )
    if implicit:
        for file in files:
            data = pydicom.dcmread(file)
            data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            data.save_as(file, implicit_vr=True, little_endian=True)
    image = read(tmp_path)
    check(image, hu)
    assert len(image.notes) == 1 and "MONOCHROME1" in image.notes[0]
    # what SimpleITK gives is inverted, and no HU
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(files[0]))).max() != hu[0].max()
