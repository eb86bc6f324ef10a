"""The intensities that a picture shows as black and as white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOFT_TISSUE = (-160.0, 240.0)
"""HU, as abdominal CT is looked at."""
_MOST_HU = 5000.0


def grey_window(array: NDArray[np.generic], *, ct: bool | None = None) -> tuple[float, float]:
    """Soft tissue's window for a CT; else from the 1st to the 99th percentile.

    Args:
        array: of a scan.
        ct: whether it is one; None where that is not known, and values below and above water tell.

    >>> grey_window(np.array([-1000.0, 0.0, 900.0]).reshape(3, 1, 1))
    (-160.0, 240.0)
    >>> grey_window(np.linspace(0, 300, 1000).reshape(10, 10, 10), ct=False)[0] > 0
    True
    """
    lowest, highest = float(array.min()), float(array.max())
    low, high = SOFT_TISSUE
    if ct is not False and lowest < low and high < highest < _MOST_HU:
        return SOFT_TISSUE
    few, many = np.percentile(array[::2, ::2, ::2].astype(np.float32), (1, 99))
    return (float(few), float(many)) if many > few else (lowest - 1, lowest + 1)
