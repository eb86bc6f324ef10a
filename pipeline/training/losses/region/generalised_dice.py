"""Generalised Dice: one Dice of all labels, in which small ones weigh as much as large ones."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import GeneralizedDiceLoss
from torch import Tensor

from ..label_loss import LabelLoss, Windows


class GeneralisedDiceLoss(LabelLoss):
    """``1 - (2 sum_c w_c sum(p y) + s) / (sum_c w_c sum(p + y) + s)`` per window; MONAI's.

    A label weighs ``w_c`` in inverse proportion to the square of its voxels, the smallest one in
    the window 1, and one that the window does not have as much as the smallest. MONAI's weights are
    not scaled so: its smoothing then outweighs all labels where the smallest one is large, as in a
    window of background alone. Range 0..1. Paper: Sudre et al. 2017 (arXiv 1707.03237).

    Args:
        smooth: s, voxels of the smallest label.
        options: see LabelLoss; no weights.
    """

    has_weights = False

    def __init__(self, *, smooth: float = 1e-5, **options: Any) -> None:
        super().__init__(**options)
        self.dice = _Scaled(smooth_nr=smooth, smooth_dr=smooth, reduction="none")

    def terms(self, windows: Windows) -> Tensor:
        """See the class; one term per window."""
        return self.dice(windows.p, windows.y).flatten(1)


class _Scaled(GeneralizedDiceLoss):
    """MONAI's, the largest weight of each window 1."""

    def w_func(self, grnd: Tensor) -> Tensor:
        """The weights (B, C) of labels of so many voxels (B, C)."""
        there = grnd > 0
        smallest = torch.where(there, grnd, torch.inf).amin(1, keepdim=True)
        return torch.where(there, (smallest / grnd.clamp(min=1)) ** 2, 1.0)
