"""Enhanced CT: frames as slices, against voxels worked out by hand and highdicom's volume."""

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from gridgate.data.dicom.pixels import _by_gdcm
from gridgate.data.dicom.seg import write_dicom_seg
from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series, series_layout
from gridgate.data.errors import ImageError, OutputError

EnhancedWriter = Callable[..., Path]
SeriesWriter = Callable[..., list[Path]]
POSITIONS = [(-100.0, -80.0, 40.0 + 2.5 * k) for k in range(6)]


def stored(count: int = 6) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 3000, (count, 5, 7)).astype(np.uint16)


def only(folder: Path) -> DicomSeries:
    series, passed = find_series(folder)
    assert len(series) == 1 and passed == []
    return series[0]


def test_frames_are_slices_in_the_order_of_their_places(
    tmp_path: Path, write_enhanced: EnhancedWriter
) -> None:
    pixels, order = stored(), [3, 0, 5, 1, 4, 2]
    path = write_enhanced(
        tmp_path / "ct.dcm", positions=[POSITIONS[k] for k in order], pixels=pixels[order]
    )
    image = read_series(only(tmp_path))
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024)
    expected = [[-0.6, 0, 0, 100], [0, -0.8, 0, 80], [0, 0, 2.5, 40], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.grid.affine, expected, atol=1e-9)
    assert image.notes == ()
    whole = read_series(only(tmp_path), keep_integers=True).array
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(whole, image.array)
    volume = hd.imread(path).get_volume(apply_real_world_transform=False)
    ours = image.grid.affine @ [2, 3, 4, 1]
    index = np.linalg.solve(volume.affine, [-ours[0], -ours[1], ours[2], 1])[:3].round().astype(int)
    assert volume.array[tuple(index)] == image.array[2, 3, 4]


def test_each_frame_has_its_own_rescaling(tmp_path: Path, write_enhanced: EnhancedWriter) -> None:
    pixels = stored()
    rescale = [(0.5 + k, -10.0 * k) for k in range(6)]
    write_enhanced(tmp_path / "ct.dcm", positions=POSITIONS, pixels=pixels, rescale=rescale)
    scale = np.arange(6)[:, None, None]
    np.testing.assert_allclose(
        read_series(only(tmp_path)).array,
        (pixels * (0.5 + scale) - 10 * scale).transpose(2, 1, 0),
        rtol=1e-6,
    )


@pytest.mark.parametrize("compress", [RLELossless, JPEGLSLossless])
def test_compressed_frames(compress: UID, tmp_path: Path, write_enhanced: EnhancedWriter) -> None:
    pixels = np.random.default_rng(4).integers(-1000, 2000, (6, 5, 7)).astype(np.int16)
    same = [(1.0, 0.0)] * 6
    write_enhanced(
        tmp_path / "ct.dcm", positions=POSITIONS, pixels=pixels, rescale=same, compress=compress
    )
    image = read_series(only(tmp_path), keep_integers=True, threads=3)
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0))


def test_what_pydicom_cannot_decode_is_decoded_by_gdcm(
    tmp_path: Path, write_enhanced: EnhancedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = stored()
    path = write_enhanced(tmp_path / "ct.dcm", positions=POSITIONS, pixels=pixels)
    _, headers = series_layout(only(tmp_path))
    # GDCM knows the rescaling of functional groups, which is undone and done again
    np.testing.assert_array_equal(_by_gdcm(path, headers[0]), pixels.astype(int) - 1024)

    def no_decoder(*_: object, **__: object) -> None:
        raise RuntimeError("no decoder")

    monkeypatch.setattr("gridgate.data.dicom.pixels.pixel_array", no_decoder)
    image = read_series(only(tmp_path))
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024)


def test_a_first_frame_that_is_a_localizer_rescales_nothing_by_gdcm(
    tmp_path: Path, write_enhanced: EnhancedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDCM takes the first frame's rescaling for all: HU would be off by 1024."""
    pixels = stored(7)

    def change(data: Dataset) -> None:
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        data.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [kind]

    write_enhanced(
        tmp_path / "ct.dcm",
        positions=[(0.0, 0.0, 0.0), *POSITIONS],
        pixels=pixels,
        rescale=[(1.0, 0.0), *[(1.0, -1024.0)] * 6],
        change=change,
    )
    expected = pixels[1:].transpose(2, 1, 0).astype(np.float32) - 1024
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, expected)

    def no_decoder(*_: object, **__: object) -> None:
        raise RuntimeError("no decoder")

    monkeypatch.setattr("gridgate.data.dicom.pixels.pixel_array", no_decoder)
    with pytest.raises(ImageError, match="the first of them, whose rescaling counts for all"):
        read_series(only(tmp_path))


def test_a_missing_frame_and_a_localizer(tmp_path: Path, write_enhanced: EnhancedWriter) -> None:
    pixels = stored(8)
    positions = [(-100.0, -80.0, 2.0 * k) for k in (0, 1, 2, 4, 5, 6, 7)] + [(0.0, 0.0, 0.0)]

    def change(data: Dataset) -> None:
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        data.PerFrameFunctionalGroupsSequence[7].CTImageFrameTypeSequence = [kind]

    write_enhanced(tmp_path / "ct.dcm", positions=positions, pixels=pixels, change=change)
    image = read_series(only(tmp_path))
    hu = pixels.astype(np.float64) - 1024
    assert image.grid.shape == (7, 5, 8)
    np.testing.assert_allclose(image.array[:, :, 3], ((hu[2] + hu[3]) / 2).T, atol=1e-3)
    np.testing.assert_allclose(image.array[:, :, 7], hu[6].T)
    assert image.notes == ("1 of 8 slices are missing and were interpolated, at z = 6 mm",)


def test_two_phases_in_one_object_are_refused(
    tmp_path: Path, write_enhanced: EnhancedWriter
) -> None:
    write_enhanced(tmp_path / "ct.dcm", positions=[*POSITIONS[:3], *POSITIONS[:3]], pixels=stored())
    with pytest.raises(ImageError, match=r"frame 1 and ct\.dcm, frame 4 are at one place"):
        read_series(only(tmp_path))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data.PerFrameFunctionalGroupsSequence.pop(), "functional groups of 5"),
        (lambda data: delattr(data, "PerFrameFunctionalGroupsSequence"), "functional groups of 0"),
        (
            lambda data: delattr(data.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"),
            "frame 1, has no PixelSpacing",
        ),
    ],
)
def test_functional_groups_that_do_not_fit_are_refused(
    change: Callable[[Dataset], None], text: str, tmp_path: Path, write_enhanced: EnhancedWriter
) -> None:
    write_enhanced(tmp_path / "ct.dcm", positions=POSITIONS, pixels=stored(), change=change)
    with pytest.raises(ImageError, match=text):
        read_series(only(tmp_path))


def test_empty_functional_groups_in_a_file_of_one_image_mean_nothing(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Dataset, k: int) -> None:
        data.SharedFunctionalGroupsSequence = [Dataset()] if k % 2 else []
        data.PerFrameFunctionalGroupsSequence = []
        data.NumberOfFrames = 1

    pixels = stored()
    write_dicom(tmp_path, pixels=pixels, change=change)
    image = read_series(only(tmp_path))
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024)


def test_a_segmentation_of_frames(tmp_path: Path, write_enhanced: EnhancedWriter) -> None:
    order = [3, 0, 5, 1, 4, 2]
    path = write_enhanced(
        tmp_path / "ct" / "ct.dcm", positions=[POSITIONS[k] for k in order], pixels=stored()
    )
    labels = np.random.default_rng(1).integers(0, 2, (7, 5, 6)).astype(np.uint8)
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(path.parent), names={1: "liver"}, algorithm="x"
    )
    source = pydicom.dcmread(path)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    found = seg.get_pixels_by_source_frame(
        str(source.SOPInstanceUID), list(range(1, 7)), ignore_spatial_locations=True
    )
    for frame, z in enumerate(order):
        np.testing.assert_array_equal(found[frame, ..., 0], labels[:, :, z].T)


def test_several_objects_are_one_volume_without_a_segmentation(
    tmp_path: Path, write_enhanced: EnhancedWriter
) -> None:
    pixels = stored()
    for name, part in (("a.dcm", slice(0, 3)), ("b.dcm", slice(3, 6))):
        write_enhanced(tmp_path / name, positions=POSITIONS[part], pixels=pixels[part])
    image = read_series(only(tmp_path))
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024)
    labels = np.ones((7, 5, 6), np.uint8)
    with pytest.raises(OutputError, match="several multi-frame objects"):
        write_dicom_seg(
            tmp_path / "seg.dcm", labels, series=only(tmp_path), names={1: "a"}, algorithm="x"
        )
