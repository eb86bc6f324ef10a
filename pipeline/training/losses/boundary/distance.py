"""Losses that weigh errors by their distance from a boundary: Kervadec's, and Hausdorff's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .....data.errors import ConfigError
from ..distance_maps import DistanceLoss, inside_and_outside
from ..label_loss import Windows
from ..region.dice import SoftDiceLoss


class BoundaryLoss(DistanceLoss):
    """The mean over voxels of ``d p``, d the signed distance to the true boundary.

    d is above 0 outside, and 0 for the first voxel inside and below 0 further in, as in the
    authors' code; a label that the window does not have, or alone has, has no boundary: 0. The
    least value, at the truth, is below 0. On its own it is slow to start: the paper adds it to
    Dice, by a factor that begins at 0.01. MONAI 1.6 has the same, without voxels to ignore and
    without spacing; MONAI 1.5 has none. Paper: Kervadec et al. 2019 (arXiv 1812.07032).

    Args:
        distance_weight: factor of the formula, 0 or more.
        dice_weight: factor of soft Dice beside it, 0 or more.
        options: see DistanceLoss; of several channels the background has a term only if asked.

    Raises:
        ConfigError: a factor is below 0.
    """

    def __init__(
        self,
        *,
        distance_weight: float = 1.0,
        dice_weight: float = 0.0,
        include_background: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(include_background=include_background, **options)
        if distance_weight < 0 or dice_weight < 0:
            raise ConfigError("distance_weight and dice_weight must be 0 or more")
        self.distance_weight, self.dice_weight = distance_weight, dice_weight
        self.dice = SoftDiceLoss()

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        terms = self.distance_weight * self.distances(windows)
        return terms + self.dice_weight * self.dice.terms(windows) if self.dice_weight else terms

    def distances(self, windows: Windows) -> Tensor:
        """The formula without its factor."""
        inside, outside = inside_and_outside(windows.y > 0, self.spacing)
        step = min(self.spacing) if self.spacing is not None else 1.0
        signed = outside - (inside - step).clamp(min=0)
        return windows.mean(signed.to(windows.p.dtype) * windows.p)


class HausdorffLoss(BoundaryLoss):
    """The mean over voxels of ``(p - y)^2 (d_p^alpha + d_y^alpha)``, the distance-transform form.

    d_y and d_p are the distances to the boundary of the truth, and of the voxels where p is above
    0.5; 0 of a mask that is empty or full. MONAI's HausdorffDTLoss is the same without voxels to
    ignore, spacing and label weights. The paper adds Dice, so that both weigh the same. Paper:
    Karimi and Salcudean 2019 (arXiv 1904.10030).

    Args:
        alpha: exponent of the distances, above 0; the paper's 2.
        options: see BoundaryLoss.

    Raises:
        ConfigError: alpha is not above 0.
    """

    def __init__(self, *, alpha: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        if alpha <= 0:
            raise ConfigError(f"alpha must be above 0, not {alpha}")
        self.alpha = alpha

    def distances(self, windows: Windows) -> Tensor:
        """The formula without its factor."""
        weight = torch.zeros_like(windows.p)
        for mask in (windows.p.detach() > 0.5, windows.y > 0):
            inside, outside = inside_and_outside(mask, self.spacing)
            weight += (inside + outside).to(weight.dtype) ** self.alpha
        return windows.mean((windows.p - windows.y) ** 2 * weight)
