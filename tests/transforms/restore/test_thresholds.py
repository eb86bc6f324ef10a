"""Thresholds on the way back, against probabilities interpolated and compared by numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage, special

from gridgate.data.errors import ConfigError
from gridgate.data.geometry.grids import Grid
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.transforms.postprocess import postprocessing
from gridgate.transforms.restore.restoration import Restoration, as_slabs
from gridgate.transforms.restore.slabs import ScoreSlabs, Slab
from gridgate.transforms.restore.thresholds import check_thresholds, sureness


def logits(channels: int) -> torch.Tensor:
    """Smooth logits (C, 12, 14, 10), half of each channel's above 0."""
    noise = np.random.default_rng(channels).normal(size=(channels, 12, 14, 10))
    smooth = [ndimage.gaussian_filter(one, 2) for one in noise]
    return torch.tensor(np.stack([2 * (o - np.median(o)) / o.std() for o in smooth])).float()


@pytest.mark.parametrize("kind", ["logits", "probabilities", "float16"])
@pytest.mark.parametrize(("thresholds", "regions"), [([0.3], False), ([0.2, 0.5, 0.9], True)])
def test_labels_are_what_is_above_the_threshold(
    kind: str, thresholds: list[float], regions: bool
) -> None:
    scores, limits = logits(len(thresholds)), special.logit(thresholds)
    if kind == "probabilities":
        scores, limits = scores.sigmoid(), np.array(thresholds)
    near = 1e-4
    if kind == "float16":
        scores, near = scores.half(), 2e-3
    affine = np.diag([0.61, 0.57, 0.8, 1.0])
    affine[:3, 3] = 1.3, 2.1, 0.9
    target = Grid((15, 17, 8), affine)
    rows = scores.movedim(0, -1)
    slabs = ScoreSlabs(
        (12, 14, 10),
        0,
        lambda: iter([Slab(0, rows[:5]), Slab(5, rows[5:])]),
        probabilities=kind == "probabilities",
    )
    told: dict[str, Any] = {"target": target, "regions": regions, "thresholds": thresholds}
    found = Restoration(slabs, affine=np.eye(4), **told).run().labels
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), -1)
    at = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    for channel, limit in enumerate(limits):
        value = ndimage.map_coordinates(
            scores[channel].float().numpy(), at, order=1, mode="nearest"
        )
        clear, inside = np.abs(value - limit) > near, (found >> channel) & 1
        np.testing.assert_array_equal(inside[clear] == 1, value[clear] > limit)
        assert clear.mean() > 0.95 and 0.02 < inside.mean() < 0.98


def test_a_half_is_what_there_is_without_thresholds() -> None:
    scores, grid = logits(2), Grid((12, 14, 10), np.eye(4))
    plain, half = (
        Restoration(
            as_slabs(scores), affine=np.eye(4), target=grid, regions=True, thresholds=given
        ).run()
        for given in (None, [0.5, 0.5])
    )
    np.testing.assert_array_equal(plain.labels, half.labels)
    assert plain.boundary_margin == pytest.approx(half.boundary_margin)


def test_whole_scores_with_thresholds() -> None:
    scores = logits(1)
    image = MetaTensor(torch.zeros(1, 12, 14, 10))
    image.meta |= {"original_affine": np.eye(4), "spatial_shape": (12, 14, 10)}
    after = postprocessing(labels=["background", "liver"], output_channels=1, thresholds=[0.8])
    found = np.asarray(after({"pred": scores, "image": image})["pred"])[0]
    np.testing.assert_array_equal(found == 1, special.expit(scores[0].numpy()) > 0.8)


def test_sureness_is_the_share_of_the_way_from_the_threshold_to_certainty() -> None:
    chances = torch.tensor([[0.25, 0.9], [0.625, 0.1], [0.0, 1.0]])
    torch.testing.assert_close(sureness(chances, [0.25, 0.5]), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(sureness(chances, None), (2 * chances - 1).abs().amin(1))


class Slope(torch.nn.Module):
    """Probability 0.2 in the first half along x, 0.4 in the second, whatever the image is."""

    gives_probabilities = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.full_like(x[:, :1], 0.2)
        scores[:, :, x.shape[2] // 2 :] = 0.4
        return scores


@pytest.mark.parametrize(("threshold", "agreement"), [(0.1, 1.0), (0.25, 0.0), (0.35, 0.0)])
def test_flips_agree_by_the_threshold(threshold: float, agreement: float) -> None:
    """The mean is 0.3: at 0.25 foreground all over, of which each flip finds one half only."""
    window = SlidingWindow((8, 8, 8), mirror_axes=[0], thresholds=[threshold], amp=False)
    slabs = window.slabs(torch.zeros(1, 8, 8, 8), Slope())
    for slab in slabs:
        torch.testing.assert_close(slab.scores, torch.full_like(slab.scores, 0.3))
    assert slabs.facts.mirror_agreement == agreement


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 0.0], [0.5, 1], [0.5, True], "ab", [0.5, "1"]])
def test_thresholds_that_cannot_be(thresholds: Any) -> None:
    with pytest.raises(ConfigError, match="2 of them"):
        check_thresholds(thresholds, channels=2, regions=True)


def test_labels_that_exclude_each_other_have_none() -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        postprocessing(labels=["background", "a", "b"], output_channels=3, thresholds=[0.5] * 3)
    slabs, grid = as_slabs(logits(3)), Grid((12, 14, 10), np.eye(4))
    with pytest.raises(ConfigError, match="3 labels exclude each other"):
        Restoration(slabs, affine=np.eye(4), target=grid, thresholds=[0.5]).run()


@pytest.mark.parametrize("regions", [False, True])
def test_levels_are_the_labels_of_each_threshold(regions: bool, tmp_path: Path) -> None:
    """On the way back by slabs, and written; each against a run with that threshold alone."""
    tried, scores = [0.3, 0.5, 0.8], logits(2 if regions else 1)
    names = ["background", "whole", "core"][: len(scores) + 1]
    image = MetaTensor(torch.zeros(1, 12, 14, 10))
    affine = np.diag([0.61, 0.57, 0.8, 1.0])
    image.meta |= {"original_affine": affine, "spatial_shape": (15, 17, 8)}
    told: dict[str, Any] = {"labels": names, "region_values": [2, 1] if regions else None}
    told["output_channels"] = len(scores)
    item = {"pred": scores, "image": image, "id": "a"}
    after = postprocessing(
        output_dir=tmp_path, **told, try_thresholds=[0.8, 0.3, 0.5], keep_largest=True
    )
    after(item)
    for number, name in enumerate(names[1:]):
        levels = np.asarray(nib.load(tmp_path / "levels" / name / "a.nii.gz").dataobj)
        assert levels.dtype == np.uint8 and set(np.unique(levels)) == {0, 1, 2, 3}
        for index, threshold in enumerate(tried):
            alone = postprocessing(**told, thresholds=[threshold] * len(scores))(item)
            found = np.asarray(alone["pred_bits" if regions else "pred"])[0]
            np.testing.assert_array_equal(levels > index, (found >> number) & 1 == 1)


def test_no_thresholds_are_tried_of_labels_that_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        postprocessing(labels=["background", "a"], output_channels=2, try_thresholds=[0.4])
