"""Dice losses per window: of MONAI, of Attention U-Net's authors, and log-cosh."""

from __future__ import annotations

from typing import Any

from monai.losses import DiceLoss
from torch import Tensor

from ..label_loss import LabelLoss, Windows


class SoftDiceLoss(LabelLoss):
    """1 - soft Dice: ``1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth)``; MONAI's DiceLoss.

    The squared form has ``sum(p^2) + sum(y^2)``. Range 0..1; 0 where neither p nor y is anywhere.
    Papers: Sudre et al. 2017 (arXiv 1707.03237), squared Milletari et al. 2016 (arXiv 1606.04797).

    Args:
        squared: squares in the denominator.
        smooth: voxels added to numerator and denominator.
        options: see LabelLoss.
    """

    def __init__(self, *, squared: bool = False, smooth: float = 1e-5, **options: Any) -> None:
        super().__init__(**options)
        self.dice = DiceLoss(
            squared_pred=squared, smooth_nr=smooth, smooth_dr=smooth, reduction="none"
        )

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        return self.dice(windows.p, windows.y).flatten(1)


class LogCoshDiceLoss(SoftDiceLoss):
    """``log(cosh(1 - soft Dice))``: Dice whose gradient fades as it gets right.

    Range 0..0.43. Paper: Jadon 2020 (arXiv 2006.14822), equation 20.
    """

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        return super().terms(windows).cosh().log()


class AttentionUNetDiceLoss(LabelLoss):
    """Soft Dice as Attention U-Net's authors trained: smoothed once above, once below.

    ``1 - 2 (sum(p y) + smooth) / (sum(p) + sum(y) + smooth)``, the mean over windows and labels,
    background included. A label that is neither there nor predicted has the value -1, as 2 is
    counted for its Dice. From the authors' published training code of Oktay et al. 2018 (arXiv
    1804.03999); the paper's text has the squared form, `sorensen_dice`.

    Args:
        smooth: voxels.
        options: see LabelLoss.
    """

    def __init__(self, *, smooth: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        self.smooth = smooth

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        both = windows.total(windows.p * windows.y) + self.smooth
        return 1 - 2 * both / (windows.total(windows.p) + windows.total(windows.y) + self.smooth)
