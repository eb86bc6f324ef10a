"""Real series: the same volume as SimpleITK's reader gives, and what is odd about them said."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError
from gridgate.data.geometry.affines import is_orthonormal
from gridgate.data.geometry.grids import same_grid
from gridgate.data.images.reading import read_grid


def untar(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def only(folder: Path) -> DicomSeries:
    series, _ = find_series(folder)
    assert len(series) == 1
    return series[0]


def check_like_simpleitk(series: DicomSeries) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series.folder)))
    expected = reader.Execute()
    image = read_series(series)
    np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(expected).T)
    whole = read_series(series, keep_integers=True).array
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(whole, image.array)
    for corner in np.ndindex(2, 2, 2):
        index = (np.array(corner) * (np.array(image.grid.shape) - 1)).tolist()
        lps = np.array(expected.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(
            (image.grid.affine @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-3
        )


def test_jpeg_2000(shared_data: Path) -> None:
    series = only(shared_data / "dicom" / "abdomen_20_slices")
    check_like_simpleitk(series)
    assert read_series(series).notes == (
        "the files have no SeriesInstanceUID; all in the folder are taken as one series",
    )


def test_chaos_and_its_mask(shared_data: Path, tmp_path: Path) -> None:
    series = only(untar(shared_data / "dicom" / "chaos03_dicom_and_png.tar.gz", tmp_path))
    check_like_simpleitk(series)
    image = read_series(series)
    assert image.notes == ()
    np.testing.assert_allclose(
        image.grid.spacing, [0.7265625, 0.7265625, 2.0]
    )  # SliceThickness says 3.2
    assert same_grid(image.grid, read_grid(shared_data / "dicom" / "chaos03_liver.nii.gz"))


def test_padding_outside_the_field_of_view(shared_data: Path, tmp_path: Path) -> None:
    series = only(untar(shared_data / "dicom" / "crlm_ct_1004.tar.gz", tmp_path))
    check_like_simpleitk(series)
    assert read_series(series).array.min() == -3024


def test_segmentations_beside_a_series_are_passed_over(shared_data: Path) -> None:
    series, passed = find_series(shared_data / "dicom" / "three_slices_with_dicom_seg")
    assert len(series) == 1 and len(passed) == 2
    assert all("a segmentation" in one.note for one in passed)


def test_a_tilted_gantry(shared_data: Path, tmp_path: Path) -> None:
    archive = next((shared_data / "odd").glob("dicom_gantry_tilt_16.5deg_*.tar.gz"))
    series = only(untar(archive, tmp_path))
    image = read_series(series)
    assert pydicom.dcmread(series.files[0], stop_before_pixels=True).GantryDetectorTilt == 16.5
    assert len(image.notes) == 1 and "(16.5 degrees)" in image.notes[0]
    assert not is_orthonormal(image.grid.affine)
    # the first pixel of each slice is where its header says
    for file in series.files:
        data = pydicom.dcmread(file)
        lps = np.array(data.ImagePositionPatient, dtype=float)
        index = np.linalg.solve(image.grid.affine, [-lps[0], -lps[1], lps[2], 1])
        np.testing.assert_allclose(index[:3], [0, 0, round(index[2])], atol=1e-4)
        plane = image.array[:, :, round(index[2])].T
        np.testing.assert_array_equal(
            plane, data.pixel_array * data.RescaleSlope + data.RescaleIntercept
        )


def test_none_of_the_failing_series_passes_silently(shared_data: Path, tmp_path: Path) -> None:
    untar(shared_data / "odd" / "dicom2nifti_failing.tar.gz", tmp_path)
    series, passed = find_series(tmp_path, modality=None)
    said = {}
    for one in series:
        try:
            said[one.folder.parent.name + one.folder.name] = "; ".join(read_series(one).notes)
        except ImageError as error:
            said[one.folder.parent.name + one.folder.name] = str(error)
    assert passed == []
    assert (
        "gantry is tilted" in said["gantrytilting001"] and "14 degrees" in said["gantrytilting001"]
    )
    assert "it has 1 slice position in 4 files" in said["notavolume001"]
    assert "interpolated, at z = 33.1075 mm" in said["sliceincrement001"]
    assert (
        "gantry is tilted" in said["sliceincrement002"]
        and "interpolated" in said["sliceincrement002"]
    )
    assert "differ in PixelSpacing" in said["sliceorientation001"]
    assert len(said) == 5


@pytest.fixture
def abdomen(shared_data: Path, tmp_path: Path) -> list[Path]:
    """A copy of the real series, in the order of its positions."""
    for file in (shared_data / "dicom" / "abdomen_20_slices").iterdir():
        shutil.copy(file, tmp_path / file.name)
    return sorted(
        tmp_path.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2]
    )


def test_with_a_slice_removed(abdomen: list[Path]) -> None:
    whole = read_series(only(abdomen[0].parent))
    abdomen[7].unlink()
    image = read_series(only(abdomen[0].parent))
    assert same_grid(image.grid, whole.grid)
    z = whole.grid.affine[2, 3] + 7 * 2.0
    assert image.notes[-1] == f"1 of 20 slices are missing and were interpolated, at z = {z:g} mm"
    kept = [k for k in range(20) if k != 7]
    np.testing.assert_array_equal(image.array[:, :, kept], whole.array[:, :, kept])
    np.testing.assert_allclose(
        image.array[:, :, 7], (whole.array[:, :, 6] + whole.array[:, :, 8]) / 2
    )


def test_with_half_of_the_slices_removed(abdomen: list[Path]) -> None:
    for file in abdomen[6:9]:
        file.unlink()
    with pytest.raises(ImageError, match="3 slices are missing from the 17 that are there"):
        read_series(only(abdomen[0].parent))


def test_with_a_slice_doubled(abdomen: list[Path]) -> None:
    whole = read_series(only(abdomen[0].parent))
    shutil.copy(abdomen[3], abdomen[3].parent / "zz_copy")
    image = read_series(only(abdomen[0].parent))
    assert "1 slices that were there twice were dropped (zz_copy)" in image.notes
    np.testing.assert_array_equal(image.array, whole.array)


def test_with_files_shuffled(abdomen: list[Path]) -> None:
    whole = read_series(only(abdomen[0].parent))
    for number, file in zip(np.random.default_rng(0).permutation(20), abdomen, strict=True):
        file.rename(file.parent / f"{number}.dcm")
    image = read_series(only(abdomen[0].parent))
    np.testing.assert_array_equal(image.array, whole.array)
    assert same_grid(image.grid, whole.grid)


def test_with_a_slice_cut_off(abdomen: list[Path]) -> None:
    content = abdomen[3].read_bytes()
    abdomen[3].write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageError, match=abdomen[3].name):
        read_series(only(abdomen[0].parent))
