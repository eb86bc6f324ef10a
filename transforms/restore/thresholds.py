"""Thresholds: the probability above which a voxel is a region, or the one foreground label.

They are for channels with a sigmoid each. Where labels exclude each other (softmax) a voxel is the
label of the highest score, and there is no threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...data.errors import ConfigError

if TYPE_CHECKING:  # plans, which do without PyTorch, import this too
    import torch

HALF = 0.5
Threshold = float | Sequence[float]
"""Of scores: one for all channels, or one each."""


def check_thresholds(thresholds: Any, *, channels: int, regions: bool) -> None:
    """Refuse thresholds that cannot be.

    Args:
        thresholds: of each output channel a probability; None is a half for each.
        channels: of the network's output.
        regions: channels overlap.

    Raises:
        ConfigError: the network's labels exclude each other; or not one number per channel, each
            above 0 and below 1.

    Example:
        >>> check_thresholds([0.4, 0.5], channels=2, regions=True)
    """
    if thresholds is None:
        return
    if channels > 1 and not regions:
        raise ConfigError(
            f"thresholds {thresholds!r}: this network's {channels} labels exclude each other, and "
            "a voxel is that of the highest score; thresholds are for regions and for networks of "
            "one output channel: leave it out (null)"
        )
    listed = isinstance(thresholds, list | tuple)
    numbers = listed and all(type(one) in (int, float) and 0 < one < 1 for one in thresholds)
    if not numbers or len(thresholds) != channels:
        raise ConfigError(
            f"thresholds {thresholds!r}: a probability above 0 and below 1 for each output channel "
            f"is wanted, {channels} of them, as {[HALF] * channels}; or null"
        )


def score_threshold(thresholds: Sequence[float] | None, *, probabilities: bool) -> Threshold:
    """The thresholds as those of scores.

    Args:
        thresholds: probabilities, see `check_thresholds`.
        probabilities: scores are probabilities, not logits.

    Example:
        >>> score_threshold(None, probabilities=False)
        0.0
        >>> score_threshold([0.5, 0.75], probabilities=False)
        [0.0, 1.0986122886681098]
    """
    if thresholds is None:
        return HALF if probabilities else 0.0
    return [one if probabilities else math.log(one / (1 - one)) for one in thresholds]


def of_channel(threshold: Threshold, channel: int) -> float:
    """The threshold of a channel."""
    return threshold[channel] if isinstance(threshold, Sequence) else threshold


def sureness(chances: torch.Tensor, thresholds: Sequence[float] | None) -> torch.Tensor:
    """How far the least sure channel is from its threshold: 0 at it, 1 at certainty.

    Args:
        chances: (m, C) probabilities.
        thresholds: see `check_thresholds`.

    Returns:
        (m,). With thresholds of a half it is the difference of the two probabilities.
    """
    at = chances.new_tensor([HALF] * chances.shape[1] if thresholds is None else thresholds)
    away = chances - at
    return (away / (1 - at)).maximum(-away / at).amin(1)
