"""Losses and Dice of regions, which overlap, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.engine.label_dice import LabelDice
from gridgate.pipeline.training.losses import LOSSES, build_loss
from gridgate.pipeline.training.losses.wrapping.annotation import Annotation

SMOOTH = 1e-5


def draw(windows: int, regions: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(regions)
    logits = random.normal(size=(windows, regions, 4, 3, 2)) * 2
    bits = random.integers(0, 1 << regions, size=(windows, 1, 4, 3, 2))
    return torch.tensor(logits), torch.tensor(bits, dtype=torch.float32)


def term(logits: np.ndarray, truth: np.ndarray) -> float:
    """1 - Dice (squared sums) plus binary cross-entropy of one region in one window."""
    chance = 1 / (1 + np.exp(-logits))
    dice = (2 * (chance * truth).sum() + SMOOTH) / ((chance**2).sum() + truth.sum() + SMOOTH)
    entropy = -(truth * np.log(chance) + (1 - truth) * np.log(1 - chance)).mean()
    return float(1 - dice + entropy)


def bit(bits: torch.Tensor, number: int) -> np.ndarray:
    return (bits.numpy().astype(int) >> number) & 1


def test_the_mean_over_regions_of_a_sigmoid_each() -> None:
    logits, bits = draw(2, 3)
    found = build_loss("dice_ce", regions=True)(logits, bits)
    terms = [
        term(logits[window, r].numpy(), bit(bits[window, 0], r))
        for window in range(2)
        for r in range(3)
    ]
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-6)


def test_regions_that_are_not_annotated_and_voxels_that_are_ignored() -> None:
    """The first window has region 1 of three; the second all, and half of its voxels ignored."""
    logits, bits = draw(2, 3)
    bits[1, 0, :2] = -1
    given = Annotation(
        torch.tensor([[True, False, True, False], [True] * 4]), torch.tensor([False, True])
    )
    found = build_loss("dice_ce", regions=True)(logits.requires_grad_(), bits, given)
    scores = logits.detach().numpy()
    first = term(scores[0, 1], bit(bits[0, 0], 1))
    second = [term(scores[1, r, 2:], bit(bits[1, 0, 2:], r)) for r in range(3)]
    assert found.item() == pytest.approx((first + np.mean(second)) / 2, rel=1e-6)
    found.backward()
    assert logits.grad is not None
    assert not logits.grad[0, [0, 2]].any() and not logits.grad[1, :, :2].any()
    assert logits.grad[0, 1].all() and logits.grad[1, :, 2:].all()


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_preset_has_right_gradients(name: str) -> None:
    logits, bits = draw(2, 2)
    loss = build_loss(name, regions=True)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, bits), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", list(LOSSES))
def test_one_region_is_a_network_of_one_channel(name: str) -> None:
    logits, bits = (tensor.float() for tensor in draw(2, 1))
    one = build_loss(name, sigmoid=True)(logits, bits)
    assert torch.equal(build_loss(name, regions=True)(logits, bits), one)


@pytest.mark.parametrize("option", [{"class_weights": [1, 2]}, {"label_smoothing": 0.1}])
def test_what_regions_do_not_have(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not there for regions"):
        build_loss("dice_ce", regions=True, **option)


def test_deep_supervision_of_regions() -> None:
    logits, bits = draw(1, 2)
    small = logits[..., ::2, :, :]
    deep = build_loss("dice_ce", regions=True, deep_supervision_weights=[1.0, 0.5])
    single = build_loss("dice_ce", regions=True)
    wanted = single(logits.float(), bits) + 0.5 * single(small.float(), bits[..., 1::2, :, :])
    assert float(deep([logits, small], bits)) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize("as_logits", [False, True])
def test_dice_of_each_region(as_logits: bool) -> None:
    """By hand: bits of six voxels, one of them ignored; the third region was not annotated."""
    truth = torch.tensor([0b000, 0b001, 0b011, 0b111, 0b001, -1]).reshape(1, 1, 6, 1, 1)
    found = torch.tensor([0b001, 0b001, 0b010, 0b011, 0b100, 0b111]).reshape(1, 1, 6, 1, 1)
    if as_logits:
        found = torch.cat([((found >> r) & 1) * 2.0 - 1 for r in range(3)], 1)
    metric = LabelDice(["background", "whole", "core", "tip"], regions=True)
    metric.update((found, truth.float(), torch.tensor([[True, True, True, False]])))
    whole, core, tip = metric.compute().tolist()
    assert whole == pytest.approx(2 * 2 / (3 + 4)) and core == pytest.approx(2 * 2 / (2 + 2))
    assert math.isnan(tip)
    with pytest.raises(ConfigError, match="2 output channels for 3 regions"):
        metric.update((torch.zeros(1, 2, 6, 1, 1), truth.float(), None))
