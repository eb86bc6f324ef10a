from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from volumes import save

from gridgate.data.dicom.series import DicomSeries
from gridgate.data.errors import ConfigError, ImageError
from gridgate.transforms import LoadCased, original_grid


def _volume(shape: tuple[int, ...] = (5, 6, 7), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


AFFINE = np.array([[-0.7, 0, 0, 10], [0, 0, 1.5, -20], [0, -0.8, 0, 30], [0, 0, 0, 1.0]])


def test_values_affine_and_meta_are_the_files(tmp_path: Path) -> None:
    array = _volume()
    path = save(tmp_path / "a.nii.gz", array, AFFINE)
    labels = save(tmp_path / "l.nii.gz", (array > 0).astype(np.float32) * 3, AFFINE)
    item = LoadCased()({"image": str(path), "label": labels, "timings": {}})
    assert item["image"].dtype == item["label"].dtype == torch.float32
    np.testing.assert_array_equal(item["image"].numpy()[0], array)
    np.testing.assert_array_equal(item["label"].numpy()[0], (array > 0) * 3)
    np.testing.assert_allclose(item["image"].affine.numpy(), AFFINE, atol=1e-6)
    assert item["image"].meta["filename_or_obj"] == str(path)
    assert tuple(item["image"].meta["spatial_shape"]) == array.shape
    assert item["timings"]["read"] > 0


def test_channels_from_files_and_from_one_file(tmp_path: Path) -> None:
    arrays = [_volume(seed=seed) for seed in (1, 2)]
    paths = [save(tmp_path / f"a_000{i}.nii.gz", array, AFFINE) for i, array in enumerate(arrays)]
    several = LoadCased("image", channels=2)({"image": paths})["image"]
    one = save(tmp_path / "b.nii.gz", np.stack(arrays, -1), AFFINE)
    single = LoadCased("image", channels=2)({"image": one})["image"]
    for loaded in (several, single):
        np.testing.assert_array_equal(loaded.numpy(), np.stack(arrays))


def test_channels_on_different_grids_are_refused_by_name(tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    paths = [
        save(tmp_path / "a.nii.gz", _volume(), AFFINE),
        save(tmp_path / "b.nii.gz", _volume(), shifted),
    ]
    with pytest.raises(ImageError, match=r"b\.nii\.gz.*not that of.*a\.nii\.gz"):
        LoadCased("image", channels=2)({"image": paths})
    with pytest.raises(ImageError, match="2 files, but 3 channels"):
        LoadCased("image", channels=3)({"image": paths})


def test_a_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.nii\.gz"):
        LoadCased("image")({"image": tmp_path / "gone.nii.gz"})


def test_the_original_grid_survives_collating_and_decollating(tmp_path: Path) -> None:
    # The second file says millimetres and metres in turn: one note, so the metas differ from case
    # to case.
    paths = []
    for index in range(2):
        image = nib.Nifti1Image(_volume(), AFFINE)
        image.set_sform(AFFINE, 1)
        image.set_qform(AFFINE + (0 if index == 0 else np.eye(4) * [[5], [0], [0], [0]]), 1)
        paths.append(tmp_path / f"{index}.nii.gz")
        nib.save(image, paths[-1])
    batch = next(
        iter(DataLoader(Dataset([{"image": p} for p in paths], LoadCased("image")), batch_size=2))
    )
    items = decollate_batch(batch)
    assert {item["image"].meta["notes"] == "" for item in items} == {True, False}
    for item, path in zip(items, paths, strict=True):
        assert item["image"].meta["filename_or_obj"] == str(path)
        grid = original_grid(item["image"])
        assert grid.shape == (5, 6, 7)
        np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-6)


def test_integers_are_kept_when_asked_and_the_scan_shares_their_memory(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)
    image = save(tmp_path / "a.nii.gz", array, AFFINE)
    label = save(tmp_path / "l.nii.gz", (array > 0).astype(np.uint16) * 300, AFFINE)
    item = LoadCased(keep_integers=True, keep_scan=True)({"image": image, "label": label})
    assert (
        item["image"].dtype == torch.int16
        and item["scan"].dtype == np.int16
        and item["scan"].shape == (5, 6, 7)
    )
    assert np.shares_memory(item["scan"], item["image"].numpy())
    np.testing.assert_array_equal(item["scan"], array)
    np.testing.assert_array_equal(item["label"].numpy()[0], (array > 0) * 300)
    small = save(tmp_path / "s.nii.gz", (array > 0).astype(np.int32), AFFINE)
    assert LoadCased("label", keep_integers=True)({"label": small})["label"].dtype == torch.uint8
    floats = LoadCased("image", keep_scan=True)({"image": image})
    assert floats["image"].dtype == torch.float32 and floats["scan"].dtype == np.int16
    assert "scan" not in LoadCased("image")({"image": image})


def test_the_scan_of_several_channels_has_them_first(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / f"{n}.nii.gz", np.full((3, 4, 5), n, np.int16), AFFINE) for n in (1, 2)
    ]
    scan = LoadCased("image", channels=2, keep_scan=True)({"image": paths})["scan"]
    assert scan.shape == (2, 3, 4, 5) and scan.dtype == np.int16
    assert scan[0].max() == 1 and scan[1].min() == 2


def test_a_dicom_series_is_read_as_simpleitk_reads_it(shared_data: Path) -> None:
    from gridgate.data.dicom.series import find_series

    folder = shared_data / "dicom" / "abdomen_20_slices"
    (series,), _ = find_series(folder)
    item = LoadCased("image", keep_integers=True, keep_scan=True)({"image": series, "timings": {}})
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(Path(series.files[0]).parent)))
    expected = reader.Execute()
    assert item["image"].dtype == torch.int16
    np.testing.assert_array_equal(item["scan"], sitk.GetArrayFromImage(expected).T)
    first = item["image"].affine.numpy()[:3, 3]
    np.testing.assert_allclose(first, np.array(expected.GetOrigin()) * (-1, -1, 1), atol=1e-3)
    assert item["image"].meta["filename_or_obj"] == str(series) and item["timings"]["read"] > 0
    with pytest.raises(ImageError, match="one channel, but 2"):
        LoadCased("image", channels=2)({"image": series})


def test_real_scan_loads_where_nibabel_says(shared_data: Path) -> None:
    path = shared_data / "ct" / "sarcoma_002" / "CT_image.nii.gz"
    image = LoadCased("image")({"image": path})["image"]
    reference = nib.load(path)
    np.testing.assert_array_equal(image.numpy()[0], reference.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(image.affine.numpy(), reference.affine, atol=1e-5)


def test_non_finite_voxels_are_refused_or_replaced_with_their_number(
    tmp_path: Path, shared_data: Path
) -> None:
    array = _volume()
    array[1, 2, 3], array[0, 0, 0] = np.nan, np.inf
    path = save(tmp_path / "a.nii.gz", array, AFFINE)
    with pytest.raises(ImageError, match=r"2 of 210 voxels are NaN.*--non_finite replace"):
        LoadCased("image")({"image": path})
    image = LoadCased("image", non_finite="replace")({"image": path})["image"]
    lowest = np.nanmin(array)
    assert float(image[0, 1, 2, 3]) == float(image[0, 0, 0, 0]) == pytest.approx(lowest)
    assert image.meta["notes"].startswith("2 NaN or infinite voxels were replaced")
    example = shared_data / "reports" / "files" / "some_nan.nii.gz"
    count = int(np.isnan(nib.load(example).get_fdata()).sum())
    assert count > 0
    image = LoadCased("image", non_finite="replace", keep_integers=True)({"image": example})
    assert image["image"].meta["notes"].startswith(f"{count} NaN or infinite voxels were replaced")
    assert torch.isfinite(image["image"]).all()
    with pytest.raises(ConfigError, match="error or replace is wanted, got 'mend'"):
        LoadCased("image", non_finite="mend")  # type: ignore[arg-type]


def test_a_ct_that_is_not_in_hu_is_noted_and_an_mr_is_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.abs(_volume()), AFFINE)
    for modality in ("CT", "ct"):
        notes = LoadCased("image", modality=modality)({"image": path})["image"].meta["notes"]
        assert notes.startswith("intensities: ")
    for modality in ("MR", None, "PT"):
        assert LoadCased("image", modality=modality)({"image": path})["image"].meta["notes"] == ""


def test_labels_are_not_taken_for_a_ct(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", (_volume() * 500).astype(np.int16), AFFINE)
    label = save(tmp_path / "l.nii.gz", np.ones((5, 6, 7), np.uint8), AFFINE)
    item = LoadCased(modality="CT")({"image": path, "label": label})
    assert item["image"].meta["notes"] == item["label"].meta["notes"] == ""


def test_each_channel_of_a_ct_is_looked_at(tmp_path: Path) -> None:
    good = save(tmp_path / "a.nii.gz", (_volume() * 500).astype(np.int16), AFFINE)
    bad = save(tmp_path / "b.nii.gz", np.abs(_volume()).astype(np.float32), AFFINE)
    item = LoadCased("image", channels=2, modality="CT")({"image": [good, bad]})
    assert item["image"].meta["notes"].count("intensities: ") == 1


def test_what_could_not_even_be_listed_says_why_for_any_number_of_channels() -> None:
    gone = DicomSeries("", "", "", Path("/in/p"), (), problem="/in/p: no file for channel 1")
    with pytest.raises(ImageError, match="no file for channel 1"):
        LoadCased("image", channels=2)({"image": gone})
