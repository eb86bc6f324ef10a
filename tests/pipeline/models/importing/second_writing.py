"""nnU-Net's chain written a second time, whole volumes at once, on scipy and torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations, product
from math import ceil

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage


def logits_of(
    path: str,
    networks: Sequence[torch.nn.Module],
    *,
    spacing: Sequence[float],
    patch: Sequence[int],
    mirror: Sequence[int] = (),
    numbers: Sequence[float] = (-180.0, 320.0, 20.0, 120.0),
) -> tuple[np.ndarray, tuple[slice, ...], tuple[int, ...]]:
    """Mean logits on the cropped scan's grid, the crop, and the scan's shape; axes z, y, x."""
    image = sitk.ReadImage(path)
    volume = sitk.GetArrayFromImage(image).astype(np.float64)
    current = image.GetSpacing()[::-1]
    crop = ndimage.find_objects((volume != 0).astype(int))[0]
    cropped = volume[crop]
    low, high, mean, std = numbers
    scaled = (cropped.clip(low, high) - mean) / std
    shape = [round(a / b * n) for a, b, n in zip(current, spacing, cropped.shape, strict=True)]
    fine = _resized(scaled, shape, 3).clip(scaled.min(), scaled.max())
    total = sum(_windows(fine, network, patch, mirror) for network in networks)
    back = [_resized(one, cropped.shape, 1) for one in total / len(networks)]
    return np.stack(back), crop, volume.shape


def labels_of(logits: np.ndarray, crop: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """(X, Y, Z) argmax in the crop, 0 around it."""
    found = np.zeros(shape, dtype=int)
    found[crop] = logits.argmax(0)
    return found.T


def regions_of(
    logits: np.ndarray, crop: tuple[slice, ...], shape: tuple[int, ...], order: Sequence[int]
) -> np.ndarray:
    """(X, Y, Z): each region's value where its probability is above a half, later ones on top."""
    found = np.zeros(shape, dtype=int)
    for one, value in zip(logits, order, strict=True):
        found[crop][one > 0] = value
    return found.T


def _resized(volume: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    factors = [n / m for n, m in zip(shape, volume.shape, strict=True)]
    return ndimage.zoom(volume, factors, order=order, mode="nearest", grid_mode=True)


def _windows(
    volume: np.ndarray, network: torch.nn.Module, patch: Sequence[int], mirror: Sequence[int]
) -> np.ndarray:
    short = [max(p - n, 0) for p, n in zip(patch, volume.shape, strict=True)]
    padded = np.pad(volume, [(one // 2, one - one // 2) for one in short])
    steps = []
    for n, p in zip(padded.shape, patch, strict=True):
        count = ceil((n - p) / (p / 2)) + 1
        steps.append(np.round(np.linspace(0, n - p, count)).astype(int) if count > 1 else [0])
    peak = np.zeros(patch)
    peak[tuple(p // 2 for p in patch)] = 1
    weight = ndimage.gaussian_filter(peak, [p / 8 for p in patch], mode="constant")
    weight = (weight / weight.max() * 10).astype(np.float16).astype(float)
    weight[weight == 0] = weight[weight > 0].min()
    flips = list(chain.from_iterable(combinations(mirror, n) for n in range(len(mirror) + 1)))
    sums, weights = 0.0, np.zeros(padded.shape)
    for start in product(*steps):
        box = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
        window = torch.from_numpy(padded[box]).float()[None, None]
        scores = 0.0
        with torch.no_grad():
            for flip in flips:
                axes = [2 + axis for axis in flip]
                scores = scores + network(window.flip(axes)).flip(axes)[0].numpy() / len(flips)
        if isinstance(sums, float):
            sums = np.zeros((len(scores), *padded.shape))
        sums[(slice(None), *box)] += scores * weight
        weights[box] += weight
    inner = tuple(slice(s // 2, s // 2 + n) for s, n in zip(short, volume.shape, strict=True))
    return (sums / weights)[(slice(None), *inner)]
