"""Combo loss: cross-entropy that weighs missed and false voxels apart, plus Dice."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows
from ..region.dice import SoftDiceLoss


class ComboLoss(LabelLoss):
    """``-alpha (beta y log p + (1 - beta)(1 - y) log(1 - p)) + (1 - alpha)(1 - soft Dice)``.

    Cross-entropy is the mean over voxels, each label against the rest, and all is the mean over
    labels. The paper subtracts Dice: its number is smaller by 1 - alpha. Paper: Taghanaki et al.
    2018 (arXiv 1805.02798).

    Args:
        alpha: factor of the cross-entropy, 0..1.
        beta: how much missed voxels weigh, 0..1; above 0.5 more than false ones.
        smooth: voxels added to numerator and denominator of Dice.
        options: see LabelLoss.

    Raises:
        ConfigError: alpha or beta is outside 0..1.
    """

    def __init__(
        self, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 1.0, **options: Any
    ) -> None:
        super().__init__(**options)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must be in 0..1, not {value}")
        self.alpha, self.beta = alpha, beta
        self.dice = SoftDiceLoss(smooth=smooth)

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        missed = self.beta * windows.y * windows.log_p
        false = (1 - self.beta) * (1 - windows.y) * windows.log_rest
        entropy = -windows.mean(missed + false)
        return self.alpha * entropy + (1 - self.alpha) * self.dice.terms(windows)
