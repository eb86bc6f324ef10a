"""Tversky losses: Dice in which missed and false voxels weigh differently."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import TverskyLoss as MonaiTverskyLoss
from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows


class TverskyLoss(LabelLoss):
    """``1 - (TP + s) / (TP + alpha FP + beta FN + s)``; MONAI's TverskyLoss, with label weights.

    With alpha and beta 0.5 it is Dice, with 1 and 1 the IoU. Range 0..1. Paper: Salehi et al. 2017
    (arXiv 1706.05721), whose best were 0.3 and 0.7.

    Args:
        alpha: factor of false positive voxels, 0 or more.
        beta: of false negative ones, 0 or more.
        smooth: s, voxels.
        options: see LabelLoss.

    Raises:
        ConfigError: alpha or beta is below 0, or both are 0.
    """

    def __init__(
        self, *, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1e-5, **options: Any
    ) -> None:
        super().__init__(**options)
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            raise ConfigError(f"alpha and beta must be 0 or more, and one above 0: {alpha}, {beta}")
        self.tversky = MonaiTverskyLoss(
            alpha=alpha, beta=beta, smooth_nr=smooth, smooth_dr=smooth, reduction="none"
        )

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        return self.tversky(windows.p, windows.y).flatten(1)


class FocalTverskyLoss(TverskyLoss):
    """``(1 - Tversky index)^(1 / gamma)``: the labels that are wrong weigh more.

    Range 0..1. Paper: Abraham and Khan 2018 (arXiv 1810.07842): gamma 4/3, and 0.7 for missed
    voxels, which the paper calls alpha and MONAI beta.

    Args:
        gamma: above 0; 1 is Tversky's loss. The paper tried 1 to 3.
        options: see TverskyLoss.

    Raises:
        ConfigError: gamma is not above 0.
    """

    def __init__(self, *, gamma: float = 4 / 3, **options: Any) -> None:
        super().__init__(**options)
        if gamma <= 0:
            raise ConfigError(f"gamma must be above 0, not {gamma}")
        self.gamma = gamma

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        index = super().terms(windows)
        # the slope of the power at 0 is infinite, and a gradient of 0 times it no number
        return index.clamp(min=torch.finfo(index.dtype).eps) ** (1 / self.gamma)
