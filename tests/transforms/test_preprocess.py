import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from volumes import SHAPE, all_axis_aligned, blob, centred_affine, rotation, save, voxel_centres_mm

from gridgate.data.errors import ConfigError, user_error
from gridgate.data.geometry.affines import is_orthonormal, orientation, spacing
from gridgate.pipeline.plans.planning import PLANS, read_plan
from gridgate.pipeline.plans.writing import bundle_files
from gridgate.transforms import preprocessing

CENTRE = (12.0, -40.0, 25.0)
LANDMARK = (14.5, -36.0, 22.0)
WINDOW = {"mode": "window", "low": 0, "high": 1000}
SHEAR = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1.0]])  # a gantry tilt of 17 degrees
COLUMNS = {
    "flipped": all_axis_aligned()[5] @ np.diag([1.2, 1.2, 2.0]),
    "permuted": all_axis_aligned()[27] @ np.diag([2.0, 1.1, 1.3]),
    "oblique": rotation(20) @ np.diag([1.2, 1.2, 2.0]),
    "oblique permuted": rotation(-25) @ all_axis_aligned()[45] @ np.diag([1.2, 2.0, 1.4]),
    "sheared": SHEAR @ np.diag([1.2, 1.2, 2.0]),
    "sheared flipped": SHEAR @ all_axis_aligned()[3] @ np.diag([1.2, 1.2, 2.0]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_landmark_stays_where_it_is_in_mm(tmp_path: Path, name: str) -> None:
    affine = centred_affine(COLUMNS[name], CENTRE)
    path = save(tmp_path / "a.nii.gz", blob(SHAPE, affine, LANDMARK), affine)
    label = save(
        tmp_path / "l.nii.gz", (blob(SHAPE, affine, LANDMARK) > 500).astype(np.uint8), affine
    )
    item = preprocessing(
        keys=("image", "label"), orientation="LPS", spacing=(1.5, 1.5, 1.8), intensity=WINDOW
    )({"image": path, "label": label})
    image = item["image"]
    result_affine = image.affine.numpy()
    assert orientation(result_affine) == "LPS"
    np.testing.assert_allclose(spacing(result_affine), (1.5, 1.5, 1.8), rtol=1e-5)
    assert is_orthonormal(result_affine)
    assert item["label"].shape == image.shape
    centres = voxel_centres_mm(image.shape[1:], result_affine)
    # A label of 2 mm voxels is where it is to half a voxel, not better.
    for volume, tolerance in ((image, 0.05), (item["label"], 0.6)):
        weights = volume.numpy()[0][..., None].astype(np.float64)
        found = (centres * weights).sum((0, 1, 2)) / weights.sum()
        np.testing.assert_allclose(found, LANDMARK, atol=tolerance)
    # Beyond a landmark: every voxel has the blob's value of its own place.
    expected = blob(image.shape[1:], result_affine, LANDMARK) / 1000
    inside = np.linalg.norm(centres - CENTRE, axis=-1) < 18
    assert (
        np.abs(image.numpy()[0] - expected)[inside].max() < 0.06
    )  # what trilinear interpolation flattens


def test_same_as_simpleitk_on_an_oblique_scan(tmp_path: Path) -> None:
    affine = centred_affine(COLUMNS["oblique"], CENTRE)
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    path = save(tmp_path / "a.nii.gz", array, affine)
    # A window from -100 to 100 scaled back is the identity.
    result = preprocessing(
        orientation="PIR",
        spacing=(1.7, 1.9, 1.4),
        intensity={"mode": "window", "low": -100, "high": 100},
    )({"image": path})["image"]
    grid, lps = result.affine.numpy(), np.diag([-1, -1, 1, 1]) @ result.affine.numpy()
    mm = spacing(grid)

    def to_itk(volume: np.ndarray, matrix: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(volume.T)
        steps = np.linalg.norm(matrix[:3, :3], axis=0)
        image.SetSpacing(steps.tolist())
        image.SetOrigin(matrix[:3, 3].tolist())
        image.SetDirection((matrix[:3, :3] / steps).ravel().tolist())
        return image

    moving = to_itk(array, np.diag([-1, -1, 1, 1]) @ affine)
    fixed = to_itk(np.zeros(result.shape[1:], np.float32), lps)
    resampled = sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear, -9999.0)
    expected = sitk.GetArrayFromImage(resampled).T
    covered = expected > -9000
    assert covered.mean() > 0.9 and np.allclose(mm, (1.7, 1.9, 1.4), rtol=1e-5)
    np.testing.assert_allclose(
        (result.numpy()[0] * 200 - 100)[covered], expected[covered], atol=2e-3
    )


def test_a_label_on_another_grid_lands_on_the_images(tmp_path: Path) -> None:
    affine = centred_affine(np.diag([1.2, 1.2, 2.0]), CENTRE)
    other_shape = (50, 44, 60)
    other = centred_affine(np.diag([-1.0, 1.0, 1.1]), np.add(CENTRE, (1, 2, -1)), other_shape)
    image = save(tmp_path / "a.nii.gz", blob(SHAPE, affine, LANDMARK), affine)
    label = save(
        tmp_path / "l.nii.gz", (blob(other_shape, other, LANDMARK) > 500).astype(np.uint8), other
    )
    item = preprocessing(keys=("image", "label"), intensity=WINDOW)(
        {"image": image, "label": label}
    )
    expected = item["image"].numpy() > 0.5
    found = item["label"].numpy() > 0
    assert item["image"].shape == item["label"].shape
    assert 2 * (expected & found).sum() / (expected.sum() + found.sum()) > 0.9
    assert item["label"].meta["filename_or_obj"] == str(label)


def test_without_spacing_voxels_are_only_reordered(tmp_path: Path) -> None:
    affine = centred_affine(COLUMNS["permuted"], CENTRE)
    array = np.random.default_rng(0).uniform(0, 1000, SHAPE).astype(np.float32)
    path = save(tmp_path / "a.nii.gz", array, affine)
    result = preprocessing(orientation="RAS", intensity=WINDOW)({"image": path})["image"]
    expected = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_allclose(result.numpy()[0], expected.get_fdata() / 1000, atol=1e-6)
    np.testing.assert_allclose(result.affine.numpy(), expected.affine, atol=1e-5)


def test_foreground_crop_keeps_the_affine_true_and_a_blank_image_whole(tmp_path: Path) -> None:
    affine = centred_affine(np.diag([1.0, 1.0, 2.0]), CENTRE)
    path = save(tmp_path / "a.nii.gz", blob(SHAPE, affine, LANDMARK), affine)
    blank = save(tmp_path / "b.nii.gz", np.zeros(SHAPE, np.float32), affine)
    transform = preprocessing(intensity=WINDOW, foreground=0.5)
    cropped = transform({"image": path})["image"]
    assert all(n < whole for n, whole in zip(cropped.shape[1:], SHAPE, strict=True))
    expected = blob(cropped.shape[1:], cropped.affine.numpy(), LANDMARK) / 1000
    np.testing.assert_allclose(cropped.numpy()[0], expected, atol=1e-4)
    assert transform({"image": blank})["image"].shape[1:] == SHAPE


def test_labels_become_consecutive(tmp_path: Path) -> None:
    affine = np.eye(4)
    values = np.random.default_rng(0).choice([0, 3, 7, 9], (6, 7, 8)).astype(np.uint8)
    label = save(tmp_path / "l.nii.gz", values, affine)
    image = save(tmp_path / "a.nii.gz", values.astype(np.float32), affine)
    found = {0: 0, 7: 1, 3: 2, 9: 0}
    item = preprocessing(keys=("image", "label"), intensity=WINDOW, label_map=found)(
        {"image": image, "label": label}
    )
    expected = np.where(values == 7, 1, np.where(values == 3, 2, 0))
    np.testing.assert_array_equal(item["label"].numpy()[0], expected)


def test_it_can_be_pickled_and_repeats_itself(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", blob(SHAPE, np.eye(4), (10, 10, 10)), np.eye(4))
    transform = preprocessing(spacing=(1.5, 1.5, 1.5), intensity={"mode": "zscore"}, foreground=0.0)
    again = pickle.loads(pickle.dumps(transform))
    assert isinstance(transform.transforms, (list, tuple))
    assert torch.equal(transform({"image": path})["image"], again({"image": path})["image"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"orientation": "RAX"}, "orientation"),
        ({"orientation": "RLS"}, "orientation"),
        ({"spacing": (1.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, 1.0, -1.0)}, "spacing"),
        ({"spacing": "fine"}, "spacing"),
        ({"keys": ("label",)}, "keys"),
        ({"intensity": {"mode": "windows"}}, "window .*ct_zscore .*zscore"),
        ({"non_finite": "mend"}, "non_finite"),
    ],
)
def test_impossible_settings_are_config_errors(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        preprocessing(**{"intensity": WINDOW, **options})


def test_what_is_odd_about_the_voxels_reaches_the_meta(tmp_path: Path) -> None:
    array = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    array[1, 1, 1] = np.nan
    path = save(tmp_path / "a.nii.gz", array, np.eye(4))
    prepare = preprocessing(intensity=WINDOW, modality="CT", non_finite="replace")
    notes = prepare({"image": path})["image"].meta["notes"]
    assert "1 NaN or infinite voxels were replaced" in notes
    assert "intensities: the values lie in 0..1" in notes
    with pytest.raises(RuntimeError) as caught:
        preprocessing(intensity=WINDOW, modality="CT")({"image": path})
    assert "--non_finite replace" in str(user_error(caught.value))


def test_bundles_have_settings_for_odd_voxels_and_channels() -> None:
    files = bundle_files(read_plan(PLANS / "phantom_attention_unet.yaml"))
    for name in ("train", "evaluate", "inference"):
        config = yaml.safe_load(files[f"configs/{name}.yaml"])
        assert config["non_finite"] == "error"
        assert config["preprocessing"]["non_finite"] == "@non_finite"
    config = yaml.safe_load(files["configs/inference.yaml"])
    assert config["preprocessing"]["modality"] == "@modality"
    assert config["inputs"]["channels"] == "@channels"


def test_a_real_ct(shared_data: Path) -> None:
    folder = shared_data / "ct" / "sarcoma_002"
    item = preprocessing(
        keys=("image", "label"),
        orientation="RAS",
        spacing=(2.0, 2.0, 4.0),
        intensity={"mode": "ct_zscore", "low": -200, "high": 300, "mean": 40, "std": 80},
    )({"image": folder / "CT_image.nii.gz", "label": folder / "CT_mask.nii.gz"})
    assert item["image"].shape == item["label"].shape
    assert item["image"].min() >= -3.0001 and item["image"].max() <= 3.2501
    reference = nib.load(folder / "CT_mask.nii.gz")
    voxel = abs(np.linalg.det(reference.affine[:3, :3]))
    volume = np.count_nonzero(reference.get_fdata()) * voxel
    assert item["label"].count_nonzero() * 16.0 == pytest.approx(volume, rel=0.05)
