"""Losses of distances, of neighbours and of several terms, written again in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from .test_formulas import (
    WEIGHTS,
    Array,
    Case,
    Formula,
    Weights,
    case,
    compare,
    dice_terms,
    focal_terms,
    label_mean,
    label_sum,
    runs,
)

Spacing = Sequence[float] | None
UNEVEN = [0.8, 1.5, 3.0]


def against_rest(c: Case) -> Array:
    """The cross-entropy of each label against the rest at each voxel."""
    return -(c.y * np.log(c.p) + (1 - c.y) * np.log(1 - c.p))


def own_entropy(c: Case) -> Array:
    """The labels' parts of the cross-entropy at each voxel."""
    return against_rest(c) if c.sigmoid else -c.y * np.log(c.p)


def of_masks(measure: Any, masks: Array, *options: Any) -> Array:
    """A measure of each window's and label's mask, (B, C, *size)."""
    return np.array([[measure(mask, *options) for mask in window] for window in masks])


def foreground(c: Case, class_weights: Weights) -> tuple[Case, Weights]:
    """The case and the weights without the background, where it has a channel."""
    if c.sigmoid:
        return c, class_weights
    short = Case(c.logits, c.labels, c.sigmoid, c.p[:, 1:], c.y[:, 1:])
    return short, None if class_weights is None else class_weights[1:]


def nearness(mask: Array, spacing: Spacing) -> Array:
    """The distance map's factor: 1 at the border of the mask, less away from it, on both sides."""
    factor = np.zeros(mask.shape)
    if not mask.any() or mask.all():
        return factor
    for side in (mask, ~mask):
        d = distance_transform_edt(side, sampling=spacing)[side]
        factor[side] = 1 - (d - d.min()) / d.max()
    return factor


def distance_cross_entropy(
    c: Case, spacing: Spacing = None, class_weights: Weights = None
) -> float:
    factor = of_masks(nearness, c.y > 0.5, spacing)
    return label_sum(c.mean((1 + factor) * own_entropy(c)), class_weights)


def to_border(mask: Array, spacing: Spacing) -> Array:
    """The distance to the nearest voxel of the other side."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    inside = distance_transform_edt(mask, sampling=spacing)
    return np.asarray(np.where(mask, inside, distance_transform_edt(~mask, sampling=spacing)))


def hausdorff(
    c: Case,
    alpha: float = 2.0,
    distance_weight: float = 0.01,
    dice_weight: float = 1.0,
    spacing: Spacing = None,
    class_weights: Weights = None,
) -> float:
    c, class_weights = foreground(c, class_weights)
    far = sum(of_masks(to_border, mask > 0.5, spacing) ** alpha for mask in (c.p, c.y))
    terms = distance_weight * c.mean((c.p - c.y) ** 2 * far) + dice_weight * dice_terms(c)
    return label_mean(terms, class_weights)


def signed(mask: Array, spacing: Spacing) -> Array:
    """The distance to the mask, negative inside and 0 at its outermost voxels."""
    step = 1.0 if spacing is None else min(spacing)
    return np.where(mask, np.minimum(step - to_border(mask, spacing), 0), to_border(mask, spacing))


def boundary(
    c: Case,
    distance_weight: float = 0.01,
    dice_weight: float = 1.0,
    spacing: Spacing = None,
    class_weights: Weights = None,
) -> float:
    c, class_weights = foreground(c, class_weights)
    distance = of_masks(signed, c.y > 0.5, spacing)
    terms = distance_weight * c.mean(distance * c.p) + dice_weight * dice_terms(c)
    return label_mean(terms, class_weights)


def border_voxels(mask: Array) -> list[tuple[int, ...]]:
    """The mask's voxels with a face neighbour in the array and out of the mask."""
    found = []
    for index in np.ndindex(*mask.shape):
        for axis, step in product(range(mask.ndim), (-1, 1)):
            near = list(index)
            near[axis] += step
            if mask[index] and 0 <= near[axis] < mask.shape[axis] and not mask[tuple(near)]:
                found.append(index)
                break
    return found


def border_error(predicted: Array, true: Array, spacing: Spacing) -> float:
    """The mean distance from the predicted border to the true one."""
    ours, theirs = np.array(border_voxels(predicted)), np.array(border_voxels(true))
    if not len(ours) or not len(theirs):
        return 0.0
    steps = np.ones(true.ndim) if spacing is None else np.array(spacing)
    apart = np.linalg.norm((ours[:, None] - theirs[None]) * steps, axis=2)
    return float(apart.min(axis=1).mean())


def predicted_masks(c: Case) -> Array:
    if c.sigmoid:
        return np.asarray(c.p > 0.5)
    return np.stack([c.p.argmax(axis=1) == k for k in range(c.p.shape[1])], axis=1)


def shape_aware(c: Case, spacing: Spacing = None, class_weights: Weights = None) -> float:
    entropy, guess = own_entropy(c), predicted_masks(c)
    terms = c.mean(entropy)
    for b, k in np.ndindex(*terms.shape):
        true = c.y[b, k] > 0.5
        wrong = entropy[b, k][guess[b, k] != true].sum() / true.size
        terms[b, k] += border_error(guess[b, k], true, spacing) * wrong
    return label_sum(terms, class_weights)


def combo(
    c: Case,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    class_weights: Weights = None,
) -> float:
    entropy = -c.mean(beta * c.y * np.log(c.p) + (1 - beta) * (1 - c.y) * np.log(1 - c.p))
    terms = alpha * entropy + (1 - alpha) * dice_terms(c, smooth=smooth)
    return label_mean(terms, class_weights)


def exponential_logarithmic(
    c: Case,
    gamma: float = 0.3,
    dice_weight: float = 0.8,
    cross_weight: float = 0.2,
    smooth: float = 1.0,
    class_weights: Weights = None,
) -> float:
    overlap = -np.log(1 - dice_terms(c, smooth=smooth))
    counts, total = c.sum(c.y).sum(axis=0), c.y[:, 0].size
    w = np.sqrt(total / np.maximum(counts, 1)) if class_weights is None else class_weights
    cross = c.mean(c.y * (-np.log(c.p)) ** gamma) * np.array(w)
    if c.sigmoid:
        rest = np.sqrt(total / (total - counts))
        cross = cross + c.mean((1 - c.y) * (-np.log(1 - c.p)) ** gamma) * rest
    return dice_weight * label_mean(overlap**gamma) + cross_weight * label_sum(cross)


def dice_focal(
    c: Case,
    gamma: float = 2.0,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    class_weights: Weights = None,
) -> float:
    overlap = label_mean(dice_terms(c), class_weights)
    return dice_weight * overlap + focal_weight * label_sum(focal_terms(c, gamma), class_weights)


def unetpp(c: Case) -> float:
    p = np.concatenate([1 - c.p, c.p], axis=1) if c.sigmoid else c.p
    y = np.concatenate([1 - c.y, c.y], axis=1) if c.sigmoid else c.y
    gains = y * np.log(p) + 2 * y * p / (y**2 + p**2)
    return float((1 - gains.sum(axis=1)).mean())


def uctransnet(
    c: Case, dice_weight: float = 0.5, ce_weight: float = 0.5, class_weights: Weights = None
) -> float:
    p, y = 0.5 * c.p, 0.5 * c.y
    overlap = 1 - (2 * c.sum(p * y) + 1e-5) / (c.sum(p**2) + c.sum(y**2) + 1e-5)
    inside, outside = -c.y * np.log(c.p), -(1 - c.y) * np.log(1 - c.p)
    n, rest = c.sum(c.y).sum(axis=0), c.sum(1 - c.y).sum(axis=0)
    cross = 0.5 * c.sum(inside).sum(axis=0) / n + 0.5 * c.sum(outside).sum(axis=0) / rest
    return dice_weight * label_mean(overlap, class_weights) + ce_weight * label_mean(
        cross[None], class_weights
    )


def normalised(values: Array, kernel: int, sigma: float) -> Array:
    """(v - m + .01) / (s + .01) with the Gaussian-weighted mean and deviation of what is near."""
    half = kernel // 2
    padded = np.pad(values, half, constant_values=np.nan)
    near, w = [], []
    for offset in product(range(kernel), repeat=values.ndim):
        at = tuple(slice(o, o + n) for o, n in zip(offset, values.shape, strict=True))
        near.append(padded[at])
        squared = sum((o - half) ** 2 for o in offset)
        w.append(np.where(np.isnan(padded[at]), 0, np.exp(-squared / (2 * sigma**2))))
    there = np.nan_to_num(near)
    mean = np.average(there, axis=0, weights=w)
    variance = np.average((there - mean) ** 2, axis=0, weights=w)
    return np.asarray((values - mean + 0.01) / (np.sqrt(variance + 1e-6) + 0.01))


def structural_similarity(
    c: Case,
    ce_weight: float = 0.5,
    share: float = 0.1,
    kernel: int = 3,
    sigma: float = 1.5,
    class_weights: Weights = None,
) -> float:
    error = np.abs(
        of_masks(normalised, c.y, kernel, sigma) - of_masks(normalised, c.p, kernel, sigma)
    )
    least = np.maximum(share * error.max(axis=c.axes, keepdims=True), 1e-4)
    f, entropy = (error > least).astype(float), against_rest(c)
    terms = c.sum(error * f * entropy) / np.maximum(c.sum(f), 1)
    return label_mean(ce_weight * c.mean(entropy) + (1 - ce_weight) * terms, class_weights)


FORMULAS: list[tuple[Formula, dict[str, Any]]] = [
    (distance_cross_entropy, {}),
    (distance_cross_entropy, {"spacing": UNEVEN}),
    (distance_cross_entropy, {"class_weights": WEIGHTS}),
    (hausdorff, {}),
    (hausdorff, {"distance_weight": 1.0}),
    (hausdorff, {"distance_weight": 1.0, "dice_weight": 0.0}),
    (hausdorff, {"alpha": 1.5, "distance_weight": 0.5, "spacing": UNEVEN}),
    (hausdorff, {"distance_weight": 1.0, "class_weights": WEIGHTS}),
    (boundary, {}),
    (boundary, {"distance_weight": 1.0}),
    (boundary, {"distance_weight": 1.0, "dice_weight": 0.0}),
    (boundary, {"distance_weight": 0.5, "dice_weight": 0.3, "spacing": UNEVEN}),
    (boundary, {"distance_weight": 1.0, "class_weights": WEIGHTS}),
    (shape_aware, {}),
    (shape_aware, {"spacing": UNEVEN}),
    (shape_aware, {"class_weights": WEIGHTS}),
    (combo, {}),
    (combo, {"alpha": 0.3, "beta": 0.8, "smooth": 0.1}),
    (combo, {"class_weights": WEIGHTS}),
    (exponential_logarithmic, {}),
    (exponential_logarithmic, {"gamma": 1.0, "dice_weight": 0.5, "cross_weight": 0.7}),
    (exponential_logarithmic, {"smooth": 0.1, "class_weights": WEIGHTS}),
    (dice_focal, {}),
    (dice_focal, {"gamma": 1.0, "dice_weight": 0.3, "focal_weight": 2.0}),
    (dice_focal, {"class_weights": WEIGHTS}),
    (unetpp, {}),
    (uctransnet, {}),
    (uctransnet, {"dice_weight": 0.2, "ce_weight": 0.9}),
    (uctransnet, {"class_weights": WEIGHTS}),
    (structural_similarity, {}),
    (structural_similarity, {"ce_weight": 0.2, "share": 0.3, "kernel": 5, "sigma": 0.8}),
    (structural_similarity, {"class_weights": WEIGHTS}),
]


@pytest.mark.parametrize(("formula", "options", "kind"), runs(FORMULAS))
def test_loss_has_its_formulas_value(formula: Formula, options: dict[str, Any], kind: str) -> None:
    c = case(kind)
    if "spacing" in options:
        options = {**options, "spacing": options["spacing"][: len(c.axes)]}
    compare(formula, options, c)
