"""A coarse pass leaves out windows, and nothing of what the network sees at both resolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.coarse_pass import found_region
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.transforms.restore.slabs import ScoreSlabs

ROI = (16, 16, 16)


class Bright(nn.Module):
    """Labels what is bright, at any resolution."""

    def __init__(self, *signs: int) -> None:
        super().__init__()
        self.signs = signs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([20 * sign * (x - 0.5) for sign in self.signs], 1)


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> torch.Tensor:
    axes = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    squares = [(axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)]
    return (torch.stack(squares).sum(0) <= radius**2).float()


@pytest.mark.parametrize(
    ("signs", "options"), [((-1, 1), {}), ((1,), {}), ((1, 1), {"regions": True})], ids=str
)
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("centre", [(50, 30, 20), (2, 2, 2), (70, 57, 47)])
def test_what_is_seen_is_all_there(
    signs: tuple[int, ...], options: dict[str, Any], factor: float, centre: tuple[int, int, int]
) -> None:
    image = ball((72, 60, 50), centre, 9)[None]
    net = Bright(*signs).eval()
    whole = SlidingWindow(ROI, amp=False, **options)(image[None], net)
    inferer = SlidingWindow(ROI, amp=False, coarse=factor, **options)
    found = inferer(image[None], net)
    assert torch.equal(found[:, -1] > 0, whole[:, -1] > 0)
    facts = inferer.slabs(image, net).facts
    assert facts.windows is not None and facts.windows_skipped is not None
    assert facts.windows_skipped > facts.windows / 2


def test_where_nothing_is_seen_all_windows_run() -> None:
    """A speck that is gone at the coarse resolution is not lost where there is nothing else."""
    image = torch.zeros(1, 40, 40, 40)
    image[0, 7, 7, 7] = 1.0
    net = Bright(-1, 1).eval()
    slabs = SlidingWindow(ROI, amp=False, coarse=3).slabs(image, net)
    labels = torch.cat([slab.scores.argmax(-1) for slab in slabs])
    assert int(labels.sum()) == 1 and slabs.facts.windows_skipped == 0


def test_a_region_that_is_given_holds_for_both_passes() -> None:
    image = ball((72, 60, 50), (20, 30, 20), 6)[None]
    image += ball((72, 60, 50), (60, 30, 20), 6)[None]
    region = torch.zeros(72, 60, 50, dtype=torch.bool)
    region[:30] = True
    net = Bright(-1, 1).eval()
    inferer = SlidingWindow(ROI, amp=False, coarse=2)
    found = inferer(image[None], net, region=region).argmax(1)[0]
    assert bool(found[20, 30, 20]) and not bool(found[60, 30, 20])


@pytest.mark.parametrize("factor", [1, 0.5, -2])
def test_voxels_that_are_not_larger_are_refused(factor: float) -> None:
    with pytest.raises(ConfigError, match="a number above 1"):
        SlidingWindow(ROI, coarse=factor)


@pytest.mark.parametrize(("thresholds", "seen"), [(None, 1), ([0.05], 2), ([0.5], 1)])
def test_what_a_low_threshold_would_call_a_label_is_not_overlooked(
    thresholds: list[float] | None, seen: int
) -> None:
    chances = torch.zeros(1, 24, 8, 8)
    chances[0, 4, 4, 4], chances[0, 18, 4, 4] = 0.9, 0.07
    slabs = ScoreSlabs.of(torch.logit(chances, eps=1e-6))
    found = found_region(slabs, (24, 8, 8), regions=False, thresholds=thresholds)
    assert found is not None
    assert [bool(found[row, 4, 4]) for row in (4, 18)] == [True, seen == 2]
