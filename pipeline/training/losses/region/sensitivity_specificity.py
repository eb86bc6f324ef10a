"""The sensitivity-specificity loss: squared errors inside and outside, weighed apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows


class SensitivitySpecificityLoss(LabelLoss):
    """``r sum((y - p)^2 y) / sum(y) + (1 - r) sum((y - p)^2 (1 - y)) / sum(1 - y)``.

    The mean squared error of the voxels in a label, and of those outside. Range 0..1. A window
    without the label, or full of it, has one of the two. Paper: Brosch et al. 2015 (MICCAI,
    doi 10.1007/978-3-319-24574-4_1), whose ratio was 0.05 for small lesions.

    Args:
        ratio: r, 0..1: how much missed voxels weigh.
        options: see LabelLoss.

    Raises:
        ConfigError: the ratio is outside 0..1.
    """

    def __init__(self, *, ratio: float = 0.05, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= ratio <= 1:
            raise ConfigError(f"ratio must be in 0..1, not {ratio}")
        self.ratio = ratio

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        error = (windows.y - windows.p) ** 2
        inside = windows.total(windows.y)
        missed = windows.total(error * windows.y) / inside.clamp(min=1)
        false = windows.total(error * (1 - windows.y)) / (windows.voxels - inside).clamp(min=1)
        return self.ratio * missed + (1 - self.ratio) * false
