from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage

from gridgate.data.dicom.series import DicomSeries
from gridgate.data.errors import ConfigError, OutputError
from gridgate.data.geometry.grids import same_grid
from gridgate.data.images.reading import read_image, read_labels, write_labels
from gridgate.transforms import (
    FillHolesd,
    LargestComponentd,
    LoadCased,
    WriteLabelsd,
    postprocessing,
    preprocessing,
)
from gridgate.transforms.components import SmallPiecesd


def test_largest_component_of_each_label_as_simpleitk_finds_it() -> None:
    labels = (np.random.default_rng(0).random((20, 22, 18)) > 0.8).astype(np.uint8)
    labels[10:] *= 2
    found = LargestComponentd("pred")({"pred": torch.from_numpy(labels)[None]})["pred"].numpy()[0]
    for label in (1, 2):
        mask = sitk.GetImageFromArray((labels == label).astype(np.uint8))
        parts = sitk.RelabelComponent(sitk.ConnectedComponent(mask, True))
        counts = np.bincount(sitk.GetArrayFromImage(parts).ravel())[1:]
        expected = sitk.GetArrayFromImage(parts) == 1
        assert counts[0] > counts[1]
        np.testing.assert_array_equal(found == label, expected)


def _largest_by_scipy(labels: np.ndarray) -> tuple[np.ndarray, dict[int, tuple[int, int]]]:
    result, removed = labels.copy(), {}
    for label in np.unique(labels[labels > 0]).tolist():
        parts, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        others = (parts > 0) & (
            parts != sizes.argmax() + 1
        )  # scipy counts in the order of the indices
        result[others] = 0
        removed[label] = (count, int(others.sum()))
    return result, removed


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.9]),
    order=st.permutations(range(3)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int64, np.float32]),
)
def test_largest_components_as_scipy_finds_them_one_label_after_the_other(
    seed: int, shape: tuple[int, ...], density: float, order: list[int], dtype: type
) -> None:
    # Sparse ones are full of ties; any order of the axes in memory must give one answer.
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 5, shape) * (rng.random(shape) < density)).astype(dtype)
    expected, removed = _largest_by_scipy(labels)
    stored = np.ascontiguousarray(labels.transpose(order)).transpose(np.argsort(order))
    given_labels = torch.from_numpy(stored)[None]
    result = LargestComponentd("pred")({"pred": given_labels})
    assert result["pred"].dtype == given_labels.dtype
    np.testing.assert_array_equal(result["pred"].numpy()[0], expected)
    np.testing.assert_array_equal(given_labels.numpy()[0], labels)
    assert result["pred_removed"] == removed


def test_a_map_larger_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridgate.transforms.connected._CHUNK", 100)
    labels = (np.random.default_rng(0).random((20, 22, 18)) > 0.9).astype(np.uint8)
    labels[0] = labels[:, :, 17] = 0
    labels[:4] *= 3
    expected, removed = _largest_by_scipy(labels)
    result = LargestComponentd("pred")({"pred": torch.from_numpy(labels)[None]})
    np.testing.assert_array_equal(result["pred"].numpy()[0], expected)
    assert result["pred_removed"] == removed


def test_only_the_asked_labels_are_touched() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    labels[0, 0, 0, :3], labels[0, 4, 4, 4] = 1, 1
    labels[0, 8, 8, :3], labels[0, 6, 6, 6] = 2, 2
    result = LargestComponentd("pred", labels=[2])({"pred": labels})
    found = result["pred"]
    assert result["pred_removed"] == {2: (2, 1)}
    assert found[0, 4, 4, 4] == 1 and found[0, 6, 6, 6] == 0 and labels[0, 6, 6, 6] == 2


def test_holes_are_filled_but_other_labels_inside_stay() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    labels[0, 1:8, 1:8, 1:8] = 3
    labels[0, 3:6, 3:6, 3:6] = 0
    labels[0, 4, 4, 4] = 1
    expected = labels.clone()
    expected[0, 3:6, 3:6, 3:6] = 3
    expected[0, 4, 4, 4] = 1
    assert torch.equal(FillHolesd("pred")({"pred": labels})["pred"], expected)
    labels[0, 4, 4, :4] = 0  # a tunnel to the outside: no hole any more
    assert torch.equal(FillHolesd("pred")({"pred": labels})["pred"], labels)


@pytest.mark.parametrize(
    "name", ["ct/sarcoma_002/CT_image.nii.gz", "ct/chest_10mm_nrrd/CTChest4.nrrd"]
)
def test_a_real_scan_there_and_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / name
    transform = preprocessing(
        orientation="RAS",
        spacing=(3, 3, 5),
        intensity={"mode": "window", "low": -1000, "high": 1000},
    )
    item = {**transform({"image": path}), "timings": {}}
    body = item["image"] > 0.4
    item["pred"] = torch.cat([torch.zeros_like(body), body, torch.zeros_like(body)]).float() - 0.5
    after = postprocessing(output_dir=tmp_path, keep_largest=True, fill_holes=[1])
    result = after(item)
    written = Path(result["pred_path"])
    assert written.parent == tmp_path and written.name == path.name.split(".")[0] + ".nii.gz"
    image = nib.load(written)
    assert image.get_data_dtype() == np.uint8 and set(np.unique(image.dataobj)) == {0, 1}
    assert {"restore", "write"} <= set(result["timings"])
    if path.suffix == ".gz":
        scan = nib.load(path)
        assert image.shape == scan.shape and image.header["sform_code"] == scan.header["sform_code"]
        assert image.header["qform_code"] == scan.header["qform_code"]
        np.testing.assert_array_equal(image.affine, scan.affine)
        intensities = scan.get_fdata()
    else:
        scan = sitk.ReadImage(str(path))
        np.testing.assert_allclose(
            image.affine[:3, 3], np.array(scan.GetOrigin()) * (-1, -1, 1), atol=1e-3
        )
        intensities = sitk.GetArrayFromImage(scan).T
    inside = np.asarray(image.dataobj) == 1
    assert np.median(intensities[inside]) > -200 > np.median(intensities[~inside])


def test_the_item_id_names_the_file(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), scan)
    meta = {"filename_or_obj": str(scan), "original_affine": np.eye(4), "spatial_shape": (4, 5, 6)}
    pred = MetaTensor(torch.ones(1, 4, 5, 6, dtype=torch.uint8), meta=meta)
    result = WriteLabelsd(output_dir=tmp_path / "out", postfix="_seg")(
        {"pred": pred, "id": "case7"}
    )
    assert result["pred_path"] == str(tmp_path / "out" / "case7_seg.nii.gz")
    result = WriteLabelsd(output_dir=tmp_path / "out")({"pred": pred, "id": "site a/patient 3/ct"})
    assert (tmp_path / "out" / "site a" / "patient 3" / "ct.nii.gz").is_file()
    with pytest.raises(OutputError, match="shape"):
        WriteLabelsd(output_dir=tmp_path / "out")({"pred": pred[:, 1:]})
    for name in ("../elsewhere", str(tmp_path / "elsewhere")):
        with pytest.raises(OutputError, match="leads out of the folder"):
            WriteLabelsd(output_dir=tmp_path / "out")({"pred": pred, "id": name})
    assert not list(tmp_path.glob("elsewhere*"))


def through_load_and_write(scan: Path, folder: Path) -> Path:
    """The mask of a scan, all of it labelled, as a run writes it."""
    item = LoadCased("image")({"image": str(scan)})
    image = item["image"]
    meta = {**image.meta, "spatial_shape": tuple(image.shape[1:])}
    item["pred"] = MetaTensor(torch.ones(image.shape, dtype=torch.uint8), meta=meta)
    return Path(WriteLabelsd(output_dir=folder)(item)["pred_path"])


@pytest.mark.parametrize(("sform", "qform"), [(6, 0), (0, 7), (9, 9), (2, 1)])
def test_forms_of_unknown_kinds_keep_the_mask_in_its_place(
    sform: int, qform: int, tmp_path: Path
) -> None:
    """nibabel, left to itself, puts 0 for kinds it does not know, and the form is lost."""
    affine = np.diag([-0.8, -0.8, 2.5, 1.0])
    affine[:3, 3] = [100, 90, -300]
    image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    content = bytearray(image.to_bytes())
    content[252:256] = np.array([qform, sform], "<i2").tobytes()
    scan = tmp_path / "scan.nii"
    scan.write_bytes(content)
    mask = through_load_and_write(scan, tmp_path / "out")
    assert same_grid(read_image(scan).grid, read_labels(mask).grid, tolerance_mm=1e-9)
    np.testing.assert_allclose(nib.load(mask).affine, affine, atol=1e-6)
    other = tmp_path / "other.nii.gz"
    write_labels(other, np.ones((5, 6, 7), np.uint8), like=read_image(scan))
    np.testing.assert_allclose(nib.load(other).affine, affine, atol=1e-6)


@pytest.mark.parametrize("offset", [100, 348, -352])
def test_a_mended_offset_of_the_voxels_is_no_obstacle_to_the_mask(
    offset: int, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.diag([2.0, 2, 2, 1]))
    content = bytearray(image.to_bytes())
    content[108:112] = np.array(offset, "<f4").tobytes()
    scan = tmp_path / "scan.nii"
    scan.write_bytes(content)
    mask = through_load_and_write(scan, tmp_path / "out")
    assert read_labels(mask).array.all()
    assert same_grid(read_image(scan).grid, read_labels(mask).grid, tolerance_mm=0)


def test_a_dicom_series_gives_its_grid_and_its_folders_name(tmp_path: Path) -> None:
    series = DicomSeries(
        "1.2.3", "CT", "", tmp_path / "patient.nii.gz", ()
    )  # a folder, whatever its name
    affine = np.array([[-0.7, 0, 0, 10], [0, -0.7, 0.2, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
    meta = {"filename_or_obj": str(series), "original_affine": affine, "spatial_shape": (4, 5, 6)}
    pred = MetaTensor(torch.ones(1, 4, 5, 6, dtype=torch.uint8), meta=meta)
    item = {"pred": pred, "files": {"image": series}}
    result = WriteLabelsd(output_dir=tmp_path / "out")(item)
    assert Path(result["pred_path"]) == tmp_path / "out" / "patient.nii.gz"
    np.testing.assert_allclose(nib.load(result["pred_path"]).affine, affine, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*[st.integers(1, 10)] * 3),
    density=st.sampled_from([0.1, 0.5, 0.8, 0.95]),
)
def test_holes_are_those_that_scipy_fills(
    seed: int, shape: tuple[int, ...], density: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 3, shape) * (rng.random(shape) < density)).astype(np.uint8)
    result = FillHolesd("pred")({"pred": torch.from_numpy(labels)[None]})["pred"].numpy()[0]
    expected = labels.copy()
    for label in (1, 2):
        holes = ndimage.binary_fill_holes(expected == label)
        expected[holes & (expected == 0)] = label
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), smallest=st.sampled_from([0.01, 0.02, 0.05, 0.0201]))
def test_small_pieces_as_scipy_finds_them(seed: int, smallest: float) -> None:
    """Voxels of 0.01 ml; label 1 loses small pieces, label 2 none. Regions by their number."""
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 3, (7, 8, 9)) * (rng.random((7, 8, 9)) < 0.15)).astype(np.uint8)
    expected = labels.copy()
    parts, count = ndimage.label(labels == 1, np.ones((3, 3, 3)))
    for part in range(1, count + 1):
        if (parts == part).sum() * 10 < round(smallest * 1000, 3):  # mm3
            expected[parts == part] = 0
    affine = torch.diag(torch.tensor([-2.0, 2.0, 2.5, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.from_numpy(labels)[None], affine=affine)
    found = SmallPiecesd("pred", smallest={1: smallest})({"pred": image})["pred"]
    np.testing.assert_array_equal(np.asarray(found)[0], expected)
    bits = (labels == 2).astype(np.uint8) + 2 * (labels == 1)
    given_regions = {"pred": image, "pred_bits": bits[None]}
    small = SmallPiecesd("pred", smallest={2: smallest}, region_values=[7, 9])
    changed = small(given_regions)["pred_bits"][0]
    np.testing.assert_array_equal(changed, (labels == 2) + 2 * (expected == 1))


def test_smallest_piece_of_labels_there_are() -> None:
    after = postprocessing(labels=["background", "a", "b"], smallest_piece={"b": 0.5})
    small = after.transforms[1]
    assert isinstance(small, SmallPiecesd) and small.smallest == {2: 0.5}
    for wrong in ({"c": 1.0}, {"a": 0}, {"a": "1"}, [1.0]):
        with pytest.raises(ConfigError, match="smallest_piece"):
            postprocessing(labels=["background", "a", "b"], smallest_piece=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="affine"):
        small({"pred": torch.zeros(1, 2, 2, 2, dtype=torch.uint8)})
