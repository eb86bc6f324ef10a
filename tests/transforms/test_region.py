"""Where windows are to run: the body, and a user's region."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from volumes import rotation

from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.images.reading import read_image
from gridgate.data.phantom.phantom import make_phantom
from gridgate.transforms.region import Regiond, body_mask


def cylinder(*, table: bool = True, lungs: bool = True) -> torch.Tensor:
    """(80, 80, 40) HU at 4 mm: a body of radius 100 mm, two lungs, a table top of 4 mm below."""
    x, y, _ = np.meshgrid(np.arange(80), np.arange(80), np.arange(40), indexing="ij")
    volume = np.full((80, 80, 40), -1000.0, np.float32)
    volume[np.hypot(x - 40, y - 40) < 25] = 40
    if lungs:
        for centre in (30, 50):
            volume[np.hypot(x - centre, y - 40) < 8] = -850
    if table:
        volume[5:75, 72] = 100
    return torch.from_numpy(volume)


def test_the_body_with_its_lungs_and_without_the_table() -> None:
    volume = cylinder()
    found = body_mask(volume, [4, 4, 4])
    body = body_mask(cylinder(table=False, lungs=False), [4, 4, 4])
    np.testing.assert_array_equal(found, body)
    truth = (cylinder(table=False, lungs=False) > -500).numpy()
    assert found[truth].all(), "every voxel of the body"
    assert found.sum() < 1.3 * truth.sum()
    assert not found[:, 72].any()


def test_two_legs_are_two_bodies() -> None:
    x, y, _ = np.meshgrid(np.arange(60), np.arange(60), np.arange(20), indexing="ij")
    legs = np.full((60, 60, 20), -1000.0, np.float32)
    legs[np.hypot(x - 15, y - 30) < 10] = 50
    legs[np.hypot(x - 45, y - 30) < 7] = 50
    assert body_mask(torch.from_numpy(legs), [4, 4, 4])[legs > 0].all()


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 5.0), (4, 4, 4), (7, 7, 1)])
def test_the_mask_has_the_images_shape_whatever_the_spacing(
    spacing: tuple[float, float, float],
) -> None:
    volume = torch.full((31, 17, 5), 40.0)
    assert body_mask(volume, spacing).shape == (31, 17, 5) and body_mask(volume, spacing).all()
    # nothing in it is denser than air, so it is no CT in HU: everything runs
    assert body_mask(torch.full((31, 17, 5), -1000.0), spacing).all()


def test_every_labelled_voxel_of_phantoms_and_real_scans_is_body(shared_data: Path) -> None:
    phantom = make_phantom(3)
    found = body_mask(torch.from_numpy(phantom.image), phantom.grid.spacing.tolist())
    assert found[phantom.labels > 0].all() and found.mean() < 0.95
    for image, labels in (
        ("ct/ircad01/ct.nii.gz", "ct/ircad01/organs.nii.gz"),
        ("ct/totalsegmentator_3mm/ct.nii.gz", "ct/totalsegmentator_3mm/labels_117.nii.gz"),
        (
            "openkbp_head_neck/imagesTr/okbp_002.nii.gz",
            "openkbp_head_neck/labelsTr/okbp_002.nii.gz",
        ),
    ):
        scan = read_image(shared_data / image)
        found = body_mask(torch.from_numpy(scan.array), scan.grid.spacing.tolist())
        truth = np.asarray(nib.load(shared_data / labels).dataobj) > 0
        assert found[truth].all(), image


def item(shape: tuple[int, int, int], affine: np.ndarray, value: float = 0.0) -> dict[str, object]:
    return {
        "id": "a",
        "image": MetaTensor(torch.full((1, *shape), value), affine=torch.as_tensor(affine)),
    }


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_a_box_in_millimetres(degrees: float) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ np.diag([2.0, -1.0, 3.0])
    affine[:3, 3] = (-10, 20, 5)
    corners = [[8.0, 0, 1], [-6, 14, 26]]  # in any order
    found = Regiond(region=corners)(item((12, 30, 9), affine))["region"][0].numpy()
    low, high = np.min(corners, 0), np.max(corners, 0)
    for index in np.ndindex(12, 30, 9):
        at = nib.affines.apply_affine(affine, index)
        assert found[index] == bool(((at >= low) & (at <= high)).all()), index
    assert 0 < found.sum() < found.size


def test_a_mask_on_another_grid_and_a_folder_of_masks(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2, 2, 1])
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[4:12, 6:10, 2:18] = 3
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 19
    nib.save(nib.Nifti1Image(mask[::-1], flipped), tmp_path / "a.nii.gz")
    for region in (tmp_path / "a.nii.gz", tmp_path):
        found = Regiond(region=region)(item((10, 10, 10), affine))["region"][0].numpy()
        np.testing.assert_array_equal(found, mask[::2, ::2, ::2] > 0)
    with pytest.raises(ImageError, match=r"no mask b\.nii\.gz"):
        Regiond(region=tmp_path)({**item((10, 10, 10), affine), "id": "b"})


def test_body_and_region_both_restrict_and_all_is_nothing_to_say() -> None:
    volume = MetaTensor(cylinder()[None], affine=torch.diag(torch.tensor([4.0, 4, 4, 1])))
    case = {"id": "a", "image": volume}
    whole = [[-1, -1, -1], [1000, 1000, 1000]]
    assert "region" not in Regiond()(case) and "region" not in Regiond(region=whole)(case)
    body = Regiond(body_threshold=-500)(case)["region"]
    lower = Regiond(body_threshold=-500, region=[[0, 0, 0], [400, 400, 70]])(case)["region"]
    assert body.shape == (1, 80, 80, 40) and body.dtype == torch.bool
    wanted = body.clone()
    wanted[..., 18:] = False
    assert torch.equal(lower, wanted)


def test_impossible_regions() -> None:
    for region in (
        [[0, 0], [1, 1]],
        [0, 1, 2],
        [[0, 0, 0], [1, 1, float("nan")]],
        [["a", 0, 0], [1, 1, 1]],
    ):
        with pytest.raises(ConfigError, match="two corners"):
            Regiond(region=region)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="holds none of its voxels"):
        Regiond(region=[[500, 500, 500], [600, 600, 600]])(item((4, 4, 4), np.eye(4)))


def test_fingers_and_toes_are_body() -> None:
    """A hand of 1 mm voxels in air: fingers of 14 mm, and one of them in two pieces."""
    hand = np.zeros((100, 200, 48), dtype=bool)
    hand[10:90, 20:100, 12:36] = True
    for number in range(4):
        x, y, z = np.ogrid[:100, :200, :48]
        finger = (x - 18 - 21 * number) ** 2 + (z - 24) ** 2 <= 7**2
        hand |= finger & (y >= 95) & (y < 175)
    hand[10:27, 130:136] = False
    volume = torch.from_numpy(np.where(hand, 40.0, -1000.0).astype(np.float32))
    found = body_mask(volume, [1.0, 1.0, 1.0])
    assert found[hand].all() and found.mean() < 0.6


def test_a_small_arm_beside_the_trunk_is_body() -> None:
    """Of 1.5 % of its size, as of an arm that the field of view cuts."""
    volume = np.full((110, 90, 40), -1000.0, np.float32)
    volume[10:70, 15:75] = 30.0
    volume[92:104, 40:50, :20] = 30.0
    share = (volume[92:104] > 0).sum() / (volume[:80] > 0).sum()
    assert 0.012 < share < 0.02
    assert body_mask(torch.from_numpy(volume), [4.0, 4.0, 4.0])[volume > 0].all()
