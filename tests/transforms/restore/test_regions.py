"""Regions on the way back: bits against plain interpolation, the one map, components of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from gridgate.data.errors import ConfigError
from gridgate.data.geometry.grids import Grid
from gridgate.transforms.components import FillHolesd, LargestComponentd
from gridgate.transforms.postprocess import postprocessing
from gridgate.transforms.restore.regions import check_region_values, written_map
from gridgate.transforms.restore.restoration import Restoration, as_slabs
from gridgate.transforms.restore.slabs import ScoreSlabs, Slab


def smooth(seed: int, channels: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Scores (C, x, y, z) with large connected parts above 0."""
    noise = np.random.default_rng(seed).normal(size=(channels, *shape))
    return torch.tensor(np.stack([ndimage.gaussian_filter(one, 2) * 20 for one in noise])).float()


def interpolated(scores: torch.Tensor, coordinates: np.ndarray) -> np.ndarray:
    """Each channel trilinearly at (3, ...) coordinates, border values beyond the edge."""
    return np.stack(
        [
            ndimage.map_coordinates(one, coordinates, order=1, mode="nearest")
            for one in scores.numpy()
        ]
    )


@pytest.mark.parametrize("channels", [1, 3, 10])
@pytest.mark.parametrize("turned", [False, True])
def test_bits_are_those_of_interpolating_every_region(channels: int, turned: bool) -> None:
    scores = smooth(channels, channels, (12, 14, 10))
    affine = np.diag([0.61, 0.57, 0.8, 1.0])
    affine[:3, 3] = 1.3, 2.1, 0.9
    if turned:
        c, s = np.cos(0.2), np.sin(0.2)
        affine = affine @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    target = Grid((15, 17, 8), affine)
    restoration = Restoration(as_slabs(scores), affine=np.eye(4), target=target, regions=True).run()
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), -1)
    at = index @ affine[:3, :3].T + affine[:3, 3]
    values = interpolated(scores, np.moveaxis(at, -1, 0))
    clear = np.abs(values).min(0) > 1e-3
    wanted = sum((values[r] > 0).astype(int) << r for r in range(channels))
    bits = restoration.labels
    assert bits.dtype == (np.uint8 if channels <= 8 else np.uint16)
    np.testing.assert_array_equal(bits[clear], wanted[clear])
    assert len(np.unique(wanted)) > 1


def test_slabs_and_probabilities_of_regions() -> None:
    """Two slabs give what one does; probabilities are the sigmoid of each region alone."""
    scores = smooth(5, 2, (8, 9, 7))
    grid = Grid((8, 9, 7), np.eye(4))
    whole = Restoration(
        as_slabs(scores), affine=np.eye(4), target=grid, probabilities=[2], regions=True
    ).run()
    rows = scores.movedim(0, -1)
    parts = ScoreSlabs((8, 9, 7), 0, lambda: iter([Slab(0, rows[:3]), Slab(3, rows[3:])]))
    halves = Restoration(parts, affine=np.eye(4), target=grid, regions=True).run()
    np.testing.assert_array_equal(whole.labels, halves.labels)
    chance = torch.sigmoid(scores[1]).numpy() * 255
    assert np.abs(whole.probabilities[2].astype(float) - chance).max() <= 0.51
    assert whole.boundary_margin is not None and 0 <= whole.boundary_margin <= 1


def item(bits: np.ndarray, values: list[int]) -> dict[str, object]:
    return {
        "pred": MetaTensor(torch.from_numpy(written_map(bits, values))[None]),
        "pred_bits": bits[None],
    }


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_largest_piece_of_each_region_is_kept(order: str) -> None:
    """By hand: the core (bit 1) has a stray voxel inside the whole, which stays whole there."""
    bits = np.zeros((8, 4, 3), np.uint8)
    bits[:5] = 1
    bits[1:3, 1:3] |= 2
    bits[4, 3, 2] |= 2
    bits[7, 0, 0] = 1
    before = np.asarray(bits, order=order)
    made = LargestComponentd("pred", region_values=[4, 9])(item(before, [4, 9]))
    wanted = bits.copy()
    wanted[4, 3, 2], wanted[7, 0, 0] = 1, 0
    np.testing.assert_array_equal(made["pred_bits"][0], wanted)
    np.testing.assert_array_equal(np.asarray(made["pred"])[0], np.array([0, 4, 9, 9])[wanted])
    assert made["pred_removed"] == {1: (2, 1), 2: (2, 1)}
    assert before[7, 0, 0] == 1  # the input is as it was
    only = LargestComponentd("pred", labels=[2], region_values=[4, 9])(item(before, [4, 9]))
    assert only["pred_bits"][0, 7, 0, 0] == 1 and only["pred_bits"][0, 4, 3, 2] == 1


def test_holes_of_a_region_are_filled_whatever_else_is_there() -> None:
    bits = np.zeros((5, 5, 5), np.uint8)
    bits[1:4, 1:4, 1:4] = 1
    bits[2, 2, 2] = 2
    made = FillHolesd("pred", labels=[1], region_values=[1, 2])(item(bits, [1, 2]))
    assert made["pred_bits"][0, 2, 2, 2] == 3


def test_whole_scores_as_other_tools_hand_them_on() -> None:
    """A tensor of logits, or of probabilities, to the map; nothing is written without a name."""
    scores = smooth(9, 3, (9, 9, 9))
    image = MetaTensor(torch.zeros(1, 9, 9, 9))
    image.meta |= {"original_affine": np.eye(4), "spatial_shape": (9, 9, 9)}
    bits = sum((scores[r] > 0).int() << r for r in range(3)).numpy()
    wanted = np.zeros((9, 9, 9), int)
    for number, value in enumerate([3, 1, 2]):
        wanted[(bits >> number) & 1 == 1] = value
    for given, told in ((scores, False), (scores.sigmoid(), True)):
        after = postprocessing(region_values=[3, 1, 2], of_probabilities=told)
        made = after({"pred": given, "image": image})
        np.testing.assert_array_equal(np.asarray(made["pred"])[0], wanted)


@pytest.mark.parametrize("values", [[1], [1, 1], [0, 1], [1.0, 2], "12", [True, 2]])
def test_values_that_cannot_be(values: object) -> None:
    with pytest.raises(ConfigError, match="region_values"):
        check_region_values(values, ["whole", "core"])  # type: ignore[arg-type]
