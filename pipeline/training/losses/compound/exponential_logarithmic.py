"""Exponential logarithmic loss: powers of the logarithms of Dice and of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows

_LEAST = 1e-30
"""Below the exponent 1 the slope at 0 is infinite, and a gradient of 0 times it no number."""


class ExponentialLogarithmicLoss(LabelLoss):
    """``w_dice mean_c (-ln Dice_c)^gamma + w_cross mean_voxels w_c (-ln p_c)^gamma``, c the truth.

    Labels weigh ``w_c = sqrt(N / n_c)``, n_c of N voxels; the paper counts them in the data set,
    this in the batch unless weights are given. With sigmoid the second term has that of the rest,
    too, and is the mean over channels. Paper: Wong et al. 2018 (arXiv 1809.00076).

    Args:
        gamma: exponent above 0: below 1 it weighs what is nearly right, above 1 what is wrong.
        dice_weight, cross_weight: the paper's 0.8 and 0.2, 0 or more.
        smooth: voxels added to numerator and denominator of Dice.
        weight: w_c, background first; None for the batch's.
        options: see LabelLoss.

    Raises:
        ConfigError: gamma is not above 0, or a weight is below 0.
    """

    def __init__(
        self,
        *,
        gamma: float = 0.3,
        dice_weight: float = 0.8,
        cross_weight: float = 0.2,
        smooth: float = 1.0,
        weight: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if gamma <= 0:
            raise ConfigError(f"gamma must be above 0, not {gamma}")
        if dice_weight < 0 or cross_weight < 0:
            raise ConfigError("dice_weight and cross_weight must be 0 or more")
        self.gamma, self.smooth = gamma, smooth
        self.dice_weight, self.cross_weight = dice_weight, cross_weight
        self.label_weights = None if weight is None else tuple(float(one) for one in weight)

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        both, true = windows.total(windows.p * windows.y), windows.total(windows.y)
        dice = (2 * both + self.smooth) / (windows.total(windows.p) + true + self.smooth)
        cross = self._power(-windows.log_p) * windows.y
        share = true.sum(0) / windows.voxels.sum()
        found = windows.mean(cross) * self._weights(share, windows.start)
        if windows.exclusive:  # a sum over labels, where the mean over them is taken
            found = found * found.shape[1]
        else:
            rest = self._power(-windows.log_rest) * (1 - windows.y)
            found = found + windows.mean(rest) * _root(1 - share)
        return self.dice_weight * self._power(-dice.log()) + self.cross_weight * found

    def _weights(self, share: Tensor, start: int) -> Tensor:
        if self.label_weights is None:
            return _root(share)
        if len(self.label_weights) != len(share) + start:
            raise ConfigError(
                f"{len(self.label_weights)} weights for {len(share) + start} channels, background "
                "included"
            )
        return share.new_tensor(self.label_weights)[start:]

    def _power(self, value: Tensor) -> Tensor:
        return value.clamp(min=_LEAST) ** self.gamma


def _root(share: Tensor) -> Tensor:
    """The square root of 1 / share, 0 of none."""
    return torch.where(share > 0, share.clamp(min=1e-12) ** -0.5, 0.0)
