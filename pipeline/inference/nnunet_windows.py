"""nnU-Net's windows: steps spread evenly over the volume, and its Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import ceil

import numpy as np
import torch
from scipy import ndimage

_SIGMA = 1 / 8  # of a window's size
_HIGHEST = 10.0  # the Gaussian is kept in float16 there, scaled so; what is below counts as lowest


def even_steps(size: int, roi: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: from the first voxel to the last, evenly spread.

    Args:
        size: voxels of the axis, at least `roi`.
        roi: of a window.
        overlap: share of a window that the next one covers again, at the least.

    Example:
        >>> even_steps(110, 64, 0.5), even_steps(64, 64, 0.5)
        ([0, 23, 46], [0])
    """
    count = ceil((size - roi) / (roi * (1 - overlap))) + 1
    if count < 2:
        return [0]
    step = (size - roi) / (count - 1)
    return [int(np.round(step * number)) for number in range(count)]


def even_starts(
    shape: Sequence[int], roi_size: Sequence[int], overlap: Sequence[float]
) -> list[tuple[int, ...]]:
    """First voxel of each window of a volume; see `even_steps`."""
    steps = [even_steps(*axis) for axis in zip(shape, roi_size, overlap, strict=True)]
    return list(product(*steps))


def gaussian(roi_size: Sequence[int], device: torch.device) -> torch.Tensor:
    """Weight of each voxel of a window (*roi_size) float32, highest 1.

    A Gaussian around voxel size // 2 that ends four deviations away, which is half a window; to
    float16's steps, as nnU-Net keeps it, and nowhere 0.
    """
    return _gaussian(tuple(int(size) for size in roi_size)).to(device)


@lru_cache(maxsize=4)
def _gaussian(roi_size: tuple[int, ...]) -> torch.Tensor:
    weights = np.ones(())
    for size in roi_size:
        peak = np.zeros(size)
        peak[size // 2] = 1
        weights = np.multiply.outer(
            weights, ndimage.gaussian_filter1d(peak, size * _SIGMA, mode="constant")
        )
    found = torch.from_numpy(weights / weights.max() * _HIGHEST).half()
    found[found == 0] = found[found > 0].min()
    return found.float() / _HIGHEST
