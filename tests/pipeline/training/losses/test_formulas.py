"""The losses of regions and of distributions against their formulas, written again in NumPy.

The two files beside this one use its windows: ``test_formulas_boundary.py`` for losses that
measure distances or look at neighbours, ``test_label_losses.py`` for the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gridgate.pipeline.training.losses import build_loss

Array = npt.NDArray[Any]
Weights = Sequence[float] | None
Formula = Callable[..., float]
WEIGHTS = [0.5, 2.0, 3.0]


@dataclass(frozen=True)
class Case:
    """A batch of two windows: logits and labels, and as arrays (B, C, *size) what they mean."""

    logits: Tensor
    labels: Tensor
    sigmoid: bool
    p: Array
    y: Array

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of a window's voxels."""
        return tuple(range(2, self.p.ndim))

    def mean(self, voxels: Array) -> Array:
        """The mean over a window's voxels, (B, C)."""
        return np.asarray(voxels.mean(axis=self.axes))

    def sum(self, voxels: Array) -> Array:
        """The sum over a window's voxels, (B, C)."""
        return np.asarray(voxels.sum(axis=self.axes))


def batch(logits: Array, labels: Array) -> Case:
    """The case of these logits (B, C, *size) and labels (B, *size)."""
    if logits.shape[1] == 1:
        p, y = 1 / (1 + np.exp(-logits)), (labels[:, None] == 1).astype(float)
    else:
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        y = np.stack([(labels == c).astype(float) for c in range(logits.shape[1])], axis=1)
    return Case(
        torch.from_numpy(logits), torch.from_numpy(labels[:, None]), logits.shape[1] == 1, p, y
    )


def case(kind: str, seed: int = 0) -> Case:
    """Random windows of one of the kinds in ``KINDS``."""
    draw = np.random.default_rng(seed)
    size = (7, 6) if "2D" in kind else (6, 5, 4)
    channels = 1 if "sigmoid" in kind else 3
    logits = 2 * draw.standard_normal((2, channels, *size))
    labels = draw.integers(0, max(channels, 2), (2, *size))
    if "blobs" in kind:
        sigma = (0, 0, *[1.0] * len(size))
        logits = 4 * gaussian_filter(logits, sigma)
        values = gaussian_filter(draw.standard_normal((2, max(channels, 2), *size)), sigma)
        labels = values.argmax(axis=1)
    if "missing" in kind:  # all labels but the last, and the last alone
        labels[0] %= max(channels, 2) - 1
        labels[1] = max(channels, 2) - 1
    return batch(logits, labels)


KINDS = [
    "softmax 3D",
    "softmax 2D",
    "softmax 3D blobs",
    "softmax 3D missing",
    "sigmoid 3D",
    "sigmoid 2D blobs",
    "sigmoid 3D missing",
]


def weighted(terms: Array, class_weights: Weights) -> Array:
    """The terms (B, C) of the labels times their weights."""
    return terms if class_weights is None else terms * np.array(class_weights)


def label_sum(terms: Array, class_weights: Weights = None) -> float:
    """The sum over labels and the mean over windows."""
    return float(weighted(terms, class_weights).sum(axis=1).mean())


def label_mean(terms: Array, class_weights: Weights = None) -> float:
    """The mean over labels and windows, not divided by the weights."""
    return float(weighted(terms, class_weights).mean())


def cross_entropy(c: Case, beta: float = 1.0, class_weights: Weights = None) -> float:
    if c.sigmoid:
        terms = -c.mean(beta * c.y * np.log(c.p) + (1 - c.y) * np.log(1 - c.p))
    else:
        factors = np.array([1.0] + [beta] * (c.p.shape[1] - 1))
        terms = factors * -c.mean(c.y * np.log(c.p))
    return label_sum(terms, class_weights)


def weighted_cross_entropy(c: Case, beta: float = 2.0, class_weights: Weights = None) -> float:
    return cross_entropy(c, beta, class_weights)


def balanced_cross_entropy(c: Case, class_weights: Weights = None) -> float:
    rest = 1 - c.sum(c.y).sum(axis=0) / (c.y.size / c.y.shape[1])
    if c.sigmoid:
        b = rest[0]
        voxels = b * c.y * np.log(c.p) + (1 - b) * (1 - c.y) * np.log(1 - c.p)
        return label_sum(-c.mean(voxels))
    return label_sum(rest * -c.mean(c.y * np.log(c.p)), class_weights)


def focal_terms(c: Case, gamma: float, alpha: float | None = None) -> Array:
    inside = -c.y * (1 - c.p) ** gamma * np.log(c.p)
    if not c.sigmoid:
        return c.mean(inside)
    outside = -(1 - c.y) * c.p**gamma * np.log(1 - c.p)
    if alpha is None:
        return c.mean(inside + outside)
    return c.mean(alpha * inside + (1 - alpha) * outside)


def focal(
    c: Case, gamma: float = 2.0, alpha: float | None = None, class_weights: Weights = None
) -> float:
    return label_sum(focal_terms(c, gamma, alpha), class_weights)


def dice_terms(c: Case, squared: bool = False, smooth: float = 1e-5) -> Array:
    power = 2 if squared else 1
    both, each = c.sum(c.p * c.y), c.sum(c.p**power) + c.sum(c.y**power)
    return 1 - (2 * both + smooth) / (each + smooth)


def dice(
    c: Case, squared: bool = False, smooth: float = 1e-5, class_weights: Weights = None
) -> float:
    return label_mean(dice_terms(c, squared, smooth), class_weights)


def attention_unet_dice(c: Case, smooth: float = 0.01, class_weights: Weights = None) -> float:
    terms = 1 - 2 * (c.sum(c.p * c.y) + smooth) / (c.sum(c.p) + c.sum(c.y) + smooth)
    return label_mean(terms, class_weights)


def sensitivity_specificity(c: Case, ratio: float = 0.05, class_weights: Weights = None) -> float:
    error = (c.y - c.p) ** 2
    missed = c.sum(error * c.y) / np.maximum(c.sum(c.y), 1)
    invented = c.sum(error * (1 - c.y)) / np.maximum(c.sum(1 - c.y), 1)
    return label_mean(ratio * missed + (1 - ratio) * invented, class_weights)


def tversky_terms(c: Case, alpha: float, beta: float, smooth: float = 1e-5) -> Array:
    hit = c.sum(c.p * c.y)
    invented, missed = c.sum(c.p * (1 - c.y)), c.sum((1 - c.p) * c.y)
    return 1 - (hit + smooth) / (hit + alpha * invented + beta * missed + smooth)


def tversky(
    c: Case,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1e-5,
    class_weights: Weights = None,
) -> float:
    return label_mean(tversky_terms(c, alpha, beta, smooth), class_weights)


def focal_tversky(
    c: Case,
    gamma: float = 4 / 3,
    alpha: float = 0.3,
    beta: float = 0.7,
    class_weights: Weights = None,
) -> float:
    return label_mean(tversky_terms(c, alpha, beta) ** (1 / gamma), class_weights)


def log_cosh_dice(c: Case, squared: bool = False, class_weights: Weights = None) -> float:
    return label_mean(np.log(np.cosh(dice_terms(c, squared))), class_weights)


def generalised_dice(c: Case, smooth: float = 1e-5) -> float:
    values = []
    for p, y in zip(c.p, c.y, strict=True):
        n = [label.sum() for label in y]
        fewest = min([count for count in n if count > 0], default=1.0)
        w = [(fewest / count) ** 2 if count > 0 else 1.0 for count in n]
        both = sum(w[k] * (p[k] * y[k]).sum() for k in range(len(n)))
        each = sum(w[k] * (p[k].sum() + y[k].sum()) for k in range(len(n)))
        values.append(1 - (2 * both + smooth) / (each + smooth))
    return float(np.mean(values))


FORMULAS: list[tuple[Formula, dict[str, Any]]] = [
    (cross_entropy, {}),
    (cross_entropy, {"beta": 3.0}),
    (cross_entropy, {"class_weights": WEIGHTS}),
    (cross_entropy, {"beta": 0.25, "class_weights": WEIGHTS}),
    (weighted_cross_entropy, {}),
    (weighted_cross_entropy, {"beta": 5.0}),
    (balanced_cross_entropy, {}),
    (balanced_cross_entropy, {"class_weights": WEIGHTS}),
    (focal, {}),
    (focal, {"gamma": 1.5}),
    (focal, {"gamma": 0.0}),
    (focal, {"alpha": 0.3}),
    (focal, {"class_weights": WEIGHTS}),
    (dice, {}),
    (dice, {"squared": True}),
    (dice, {"smooth": 0.5, "class_weights": WEIGHTS}),
    (attention_unet_dice, {}),
    (attention_unet_dice, {"smooth": 1.0}),
    (attention_unet_dice, {"class_weights": WEIGHTS}),
    (sensitivity_specificity, {}),
    (sensitivity_specificity, {"ratio": 0.4}),
    (sensitivity_specificity, {"class_weights": WEIGHTS}),
    (tversky, {}),
    (tversky, {"alpha": 0.6, "beta": 0.4, "smooth": 0.1}),
    (tversky, {"class_weights": WEIGHTS}),
    (focal_tversky, {}),
    (focal_tversky, {"gamma": 2.0, "alpha": 0.6, "beta": 0.4}),
    (focal_tversky, {"class_weights": WEIGHTS}),
    (log_cosh_dice, {}),
    (log_cosh_dice, {"squared": True}),
    (log_cosh_dice, {"class_weights": WEIGHTS}),
    (generalised_dice, {}),
    (generalised_dice, {"smooth": 2.0}),
]


def compare(formula: Formula, options: dict[str, Any], c: Case) -> None:
    """The loss of the formula's name has the formula's value, in float64."""
    found = build_loss(formula.__name__, sigmoid=c.sigmoid, **options)(c.logits, c.labels)
    assert found.shape == () and found.dtype == torch.float64
    assert found.item() == pytest.approx(formula(c, **options), rel=1e-6, abs=1e-9)


def runs(formulas: Sequence[tuple[Formula, dict[str, Any]]]) -> list[Any]:
    """Each formula with each kind of windows that its options can be had with."""
    return [
        pytest.param(formula, options, kind, id=f"{formula.__name__}-{options}-{kind}")
        for formula, options in formulas
        for kind in KINDS
        if not ("sigmoid" in kind and "class_weights" in options)
        and not ("softmax" in kind and "alpha" in options and formula.__name__ == "focal")
    ]


@pytest.mark.parametrize(("formula", "options", "kind"), runs(FORMULAS))
def test_loss_has_its_formulas_value(formula: Formula, options: dict[str, Any], kind: str) -> None:
    for seed in (0, 1):
        compare(formula, options, case(kind, seed))


def certain(labels: Array, channels: int = 3) -> Case:
    """A prediction that is sure of these labels (B, *size)."""
    logits = np.stack([np.where(labels == k, 60.0, -60.0) for k in range(channels)], axis=1)
    return batch(logits, labels)


def test_attention_unet_dice_of_a_label_neither_there_nor_predicted_is_minus_one() -> None:
    c = certain(np.arange(24).reshape(1, 4, 6) % 2)
    found = build_loss("attention_unet_dice")(c.logits, c.labels).item()
    present = 1 - 2 * (12 + 0.01) / (24 + 0.01)
    assert found == pytest.approx((2 * present - 1) / 3, rel=1e-6)


def test_dice_of_a_label_neither_there_nor_predicted_is_zero() -> None:
    c = certain(np.arange(24).reshape(1, 4, 6) % 2)
    for name in ("dice", "tversky", "log_cosh_dice", "generalised_dice"):
        assert build_loss(name)(c.logits, c.labels).item() == pytest.approx(0, abs=1e-9)


def test_generalised_dice_by_hand() -> None:
    """Labels of 2 and 1 voxels, and one that is not there, each of probability 1/3."""
    labels = np.array([[[0, 0, 1]]])
    c = batch(np.zeros((1, 3, 1, 3)), labels)
    weights = (1 / 4, 1.0, 1.0)
    both = weights[0] * 2 / 3 + weights[1] * 1 / 3
    each = weights[0] * (1 + 2) + weights[1] * (1 + 1) + weights[2] * 1
    found = build_loss("generalised_dice")(c.logits, c.labels).item()
    assert found == pytest.approx(1 - (2 * both + 1e-5) / (each + 1e-5), rel=1e-6)


def test_balanced_cross_entropy_counts_over_the_batch() -> None:
    """Windows of different shares of a label are weighed by the share of both."""
    c = batch(np.zeros((2, 1, 1, 4)), np.array([[[1, 0, 0, 0]], [[1, 1, 1, 0]]]))
    found = build_loss("balanced_cross_entropy", sigmoid=True)(c.logits, c.labels).item()
    assert found == pytest.approx(0.5 * np.log(2), rel=1e-6)
