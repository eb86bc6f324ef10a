"""What choices of a cross-validation are made by: mean Dice, and how much of it is a clear gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLEAR_GAIN = 0.001
"""Of the mean Dice, for which a threshold of a half is left, and small pieces are removed."""


def mean_dice(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN of none, and nothing is larger than that.

    >>> mean_dice([0.5, float("nan"), 1.0])
    0.75
    """
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
