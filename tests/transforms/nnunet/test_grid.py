"""A scan on nnU-Net's grid and back: true affines, the crop, long voxels, turned scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from gridgate.data.errors import ConfigError
from gridgate.data.geometry.grids import Grid
from gridgate.transforms.nnunet.grid import NnunetGrid
from gridgate.transforms.nnunet.preprocess import nnunet_preprocessing
from gridgate.transforms.restore.restoration import Restoration, as_slabs
from gridgate.transforms.restore.slabs import ScoreSlabs, Slab
from gridgate.transforms.restore.transform import RestoreLabelsd

NONE = {"mode": "none"}


def oblique(spacing: tuple[float, float, float], *, flips: tuple[int, int, int]) -> np.ndarray:
    angle = np.deg2rad(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = 12, -30, 55
    return affine


@pytest.fixture
def coordinates(tmp_path: Path) -> Any:
    """Writes a scan of three channels that hold each voxel's own place in mm, within a border."""

    def write(shape: tuple[int, int, int], affine: np.ndarray, border: int) -> list[str]:
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
        world = index @ affine[:3, :3].T + affine[:3, 3] + 1000  # nowhere 0
        inside = np.zeros(shape, bool)
        inside[border : shape[0] - border, border:, : shape[2] - border] = True
        files = []
        for axis in range(3):
            array = np.where(inside, world[..., axis], 0).astype(np.float32)
            files.append(str(tmp_path / f"{axis}.nii"))
            nib.save(nib.Nifti1Image(array, affine), files[-1])
        return files

    return write


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    "nnunet",
    [
        {},
        {"transpose": [1, 2, 0]},
        {"orientation": "RAS"},
        {"orientation": "LPS", "transpose": [2, 0, 1]},
        {"resampling": {"order": 1}},
    ],
)
def test_the_affine_is_true_for_every_voxel(
    coordinates: Any, nnunet: dict[str, Any], fast: bool
) -> None:
    affine = oblique((1.0, 1.3, 2.0), flips=(-1, 1, -1))
    files = coordinates((30, 26, 22), affine, 3)
    prepare = nnunet_preprocessing(
        nnunet=nnunet, intensity=NONE, spacing=(1.7, 1.1, 1.4), channels=3, fast_resampling=fast
    )
    image = prepare({"image": files})["image"]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape[1:]), indexing="ij"), -1)
    found = index @ image.affine.numpy()[:3, :3].T + image.affine.numpy()[:3, 3] + 1000
    rim = 4  # interpolation at the edge repeats the edge, and splines overshoot there
    inner = (slice(None), *[slice(rim, -rim)] * 3)
    np.testing.assert_allclose(
        np.moveaxis(image.numpy(), 0, -1)[inner[1:]], found[inner[1:]], atol=2e-2
    )


def test_axes_are_those_of_the_file_from_slowest_to_fastest(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 100, (5, 6, 7)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1])), tmp_path / "a.nii")
    prepare = nnunet_preprocessing(nnunet={}, intensity=NONE, spacing=(2, 2, 2))
    image = prepare({"image": str(tmp_path / "a.nii")})["image"]
    assert np.array_equal(image[0].numpy(), array.transpose(2, 1, 0))
    turned = nnunet_preprocessing(
        nnunet={"orientation": "LPS", "transpose": [2, 1, 0]}, intensity=NONE, spacing=None
    )({"image": str(tmp_path / "a.nii")})["image"]
    assert np.array_equal(turned[0].numpy(), array[::-1, ::-1])


def test_turned_scans_are_seen_alike(tmp_path: Path) -> None:
    """With an orientation, whatever the file's; without one, as the file stores it."""
    array = np.random.default_rng(0).integers(1, 100, (9, 8, 7)).astype(np.int16)
    image = nib.Nifti1Image(array, np.diag([-1.0, 2, 3, 1]))
    other = image.as_reoriented(nib.orientations.axcodes2ornt("ASL"))
    nib.save(image, tmp_path / "a.nii")
    nib.save(other, tmp_path / "b.nii")
    seen = {}
    for orientation in ("RAS", None):
        prepare = nnunet_preprocessing(
            nnunet={"orientation": orientation}, intensity=NONE, spacing=(4, 2.5, 1.5)
        )
        seen[orientation] = [
            prepare({"image": str(tmp_path / name)})["image"].numpy() for name in ("a.nii", "b.nii")
        ]
    np.testing.assert_allclose(*seen["RAS"], atol=1e-3)
    assert seen[None][0].shape != seen[None][1].shape


def test_a_size_half_way_is_rounded_by_the_files_own_spacing(tmp_path: Path) -> None:
    """An oblique affine's column is 13.87500035 mm long, the header says 13.875."""
    affine = oblique((13.875, 2.3125, 1.8), flips=(1, 1, 1))
    nib.save(nib.Nifti1Image(np.ones((20, 8, 8), np.int16), affine), tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert np.linalg.norm(written.affine[:3, 0]) != 13.875
    prepare = nnunet_preprocessing(nnunet={}, intensity=NONE, spacing=(1.8, 2.3125, 3))
    assert prepare({"image": str(tmp_path / "a.nii")})["image"].shape[3] == 92  # 92.5, to even


def test_an_empty_scan_is_kept_whole(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), tmp_path / "a.nii")
    prepare = nnunet_preprocessing(
        nnunet={}, intensity={"mode": "zscore_nonzero"}, spacing=(1, 1, 1)
    )
    image = prepare({"image": str(tmp_path / "a.nii")})["image"]
    assert image.shape == (1, 8, 8, 8) and not image.any()


@pytest.mark.parametrize(
    ("nnunet", "told"),
    [
        ({"transpose": [0, 0, 1]}, "an order of 0, 1, 2"),
        ({"orientation": "RAX"}, "three letters"),
        ({"restoring": {"order": 3}}, "restoring by order 3"),
        ({"resampling": {"order": 9}}, "order 9"),
        ({"resampling": {"ordre": 3}}, "ordre"),
        ({"trnspose": [0, 1, 2]}, "trnspose"),
    ],
)
def test_impossible_grids_are_refused(nnunet: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        NnunetGrid.of(nnunet)


def test_there_is_no_body_to_look_for() -> None:
    with pytest.raises(ConfigError, match="body_threshold"):
        nnunet_preprocessing(nnunet={}, intensity=NONE, spacing=None, body_threshold=-500)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_come_back_by_the_nearest_along_one_axis(axis: int) -> None:
    """Against scipy: linear in planes, then the nearest plane; and in two slabs as in one."""
    scores = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 9, 8, 7))).float()
    target, source = (6, 13, 10), scores.shape[1:]
    scale = np.array(source) / np.array(target)
    affine = np.diag([*scale, 1.0])
    affine[:3, 3] = 0.5 * scale - 0.5
    at = [s * (np.arange(n) + 0.5) - 0.5 for s, n in zip(scale, target, strict=True)]
    at[axis] = np.floor(at[axis] + 0.5)
    mesh = np.stack(np.meshgrid(*at, indexing="ij"))
    wanted = np.stack(
        [ndimage.map_coordinates(one, mesh, order=1, mode="nearest") for one in scores.numpy()]
    ).argmax(0)
    grid = Grid(target, affine)
    whole = Restoration(as_slabs(scores), affine=np.eye(4), target=grid, nearest=axis).run()
    np.testing.assert_array_equal(whole.labels, wanted)
    parts = [Slab(0, scores[:, :4].movedim(0, -1)), Slab(4, scores[:, 4:].movedim(0, -1))]
    slabs = ScoreSlabs(tuple(source), 0, lambda: iter(parts))
    split = Restoration(slabs, affine=np.eye(4), target=grid, nearest=axis).run()
    np.testing.assert_array_equal(split.labels, wanted)
    linear = Restoration(as_slabs(scores), affine=np.eye(4), target=grid).run()
    assert (linear.labels != wanted).any()


def test_around_the_crop_is_background(tmp_path: Path) -> None:
    """Also within a voxel of the crop, where the border's label would go on."""
    array = np.zeros((20, 20, 20), np.int16)
    array[5:12, 6:15, 4:18] = 50
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    prepare = nnunet_preprocessing(nnunet={}, intensity=NONE, spacing=(3, 3, 3))
    image = prepare({"image": str(tmp_path / "a.nii")})["image"]
    scores = torch.stack([torch.zeros(image.shape[1:]), torch.ones(image.shape[1:])])
    restore = RestoreLabelsd(probabilities={"background": 0, "one": 1})
    made = restore({"pred": scores, "image": image})
    assert isinstance(made["pred"], MetaTensor)
    assert np.array_equal(made["pred"][0].numpy(), array // 50)
    assert np.unique(made["pred_probabilities"]["background"][array == 0]).tolist() == [255]
    assert np.unique(made["pred_probabilities"]["one"][array == 0]).tolist() == [0]
