"""The order in which windows are tried, and how many iterations a time should have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CUBE = 256.0  # voxels per axis of the cube to begin with, at the geometric mean of the spacing
_REFERENCE_SECONDS = 1200.0
_REFERENCE_ITERATIONS = 2500.0


def fewest_iterations(seconds: float) -> float:
    """So many iterations a training of this length should have at least.

    2,500 in 20 minutes: 2,900 in small windows were better than 1,000 in larger ones
    (benchmarks/results/ablation_openkbp_head_neck.md). More with the square root of the time: half
    of what time gives goes into larger windows.

    >>> round(fewest_iterations(1200)), round(fewest_iterations(4 * 1200))
    (2500, 5000)
    """
    return _REFERENCE_ITERATIONS * float(np.sqrt(seconds / _REFERENCE_SECONDS))


def first_window(
    shape: Sequence[float], spacing: Sequence[float], divisor: Sequence[int]
) -> list[int]:
    """A cube in mm, no larger than the shape, in multiples of the divisor.

    A case of one multiple per axis is padded along its longest: on the coarsest level the networks
    would have a single value, which no normalisation can use.

    >>> first_window([35, 50, 36], [1, 1, 1], [16, 16, 16])
    [32, 48, 32]
    >>> first_window([512, 512, 96], [0.8, 0.8, 2.5], [16, 16, 16])
    [368, 368, 96]
    >>> first_window([5, 8, 6], [8, 8, 8], [16, 16, 16])
    [16, 32, 16]
    """
    mean = float(np.prod(spacing)) ** (1 / 3)
    wanted = [min(size, _CUBE * mean / mm) for size, mm in zip(shape, spacing, strict=True)]
    window = [_nearest(size, step) for size, step in zip(wanted, divisor, strict=True)]
    if window == list(divisor):
        window[int(np.argmax(np.divide(shape, divisor)))] *= 2
    return window


def smaller_window(
    window: Sequence[int], shape: Sequence[float], divisor: Sequence[int]
) -> list[int] | None:
    """The next smaller window, or None for the smallest, twice the divisor.

    It is cut along the axis where it covers most of the shape.

    >>> smaller_window([64, 64, 64], [100, 200, 300], [16, 16, 16])
    [48, 64, 64]
    """
    axes = [axis for axis in range(3) if window[axis] > 2 * divisor[axis]]
    if not axes:
        return None
    axis = max(axes, key=lambda one: window[one] / shape[one])
    return [size - divisor[axis] if one == axis else size for one, size in enumerate(window)]


def _nearest(size: float, step: int) -> int:
    """The nearest multiple, at least one; half way it is the larger one."""
    return max(1, int(size / step + 0.5)) * step
