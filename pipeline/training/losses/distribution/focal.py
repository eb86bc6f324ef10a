"""Focal loss: cross-entropy in which voxels that are right already weigh little."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows

_LEAST = 1e-7


class FocalLoss(LabelLoss):
    """The mean over voxels of ``-a (1 - p_t)^gamma log p_t``, p_t the probability of the truth.

    With softmax over all channels; with sigmoid the mean over channels of that of each. MONAI's
    divides by the number of channels as well, and takes the softmax of the foreground's channels
    alone where the background is left out (MONAI 1.6): this does neither. Paper: Lin et al. 2017
    (arXiv 1708.02002).

    Args:
        gamma: 0 or more; 0 is cross-entropy.
        alpha: with sigmoid the factor a of the foreground, and 1 - alpha that of the rest, 0..1;
            None for 1 and 1. With softmax use weights.
        options: see LabelLoss.

    Raises:
        ConfigError: gamma below 0, or alpha outside 0..1 or with softmax.
    """

    sums_labels = True

    def __init__(self, *, gamma: float = 2.0, alpha: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        if gamma < 0:
            raise ConfigError(f"gamma must be 0 or more, not {gamma}")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be in 0..1, not {alpha}")
        if alpha is not None and self.softmax:
            raise ConfigError("alpha is for sigmoid; with several exclusive labels use weights")
        self.gamma, self.alpha = gamma, alpha

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        right = self._powered(1 - windows.p) * windows.log_p
        found = -windows.mean(windows.y * right)
        if windows.exclusive:
            return found
        wrong = self._powered(windows.p) * windows.log_rest
        rest = -windows.mean((1 - windows.y) * wrong)
        if self.alpha is None:
            return found + rest
        return self.alpha * found + (1 - self.alpha) * rest

    def _powered(self, share: Tensor) -> Tensor:
        """To the power of gamma; below 1 its slope at 0 is infinite, and times 0 no number."""
        return (share.clamp(min=_LEAST) if self.gamma < 1 else share) ** self.gamma
