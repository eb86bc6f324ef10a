"""Correlation maximised structural similarity: cross-entropy where neighbourhoods differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows

_STABLE = 0.01  # the paper's C4
_ROUNDING = 1e-4  # differences below are none, as of two even neighbourhoods
_LEAST_VARIANCE = 1e-6  # the root's slope at 0 is infinite


class StructuralSimilarityLoss(LabelLoss):
    """``l CE + (1 - l) sum(e f CE) / sum(f)``, e how much p and y differ once they are normalised.

    ``e = |(y - m_y + C) / (s_y + C) - (p - m_p + C) / (s_p + C)|``, m and s the mean and standard
    deviation in a Gaussian neighbourhood, C 0.01; f is 1 where e is above ``share`` times its
    largest value of the window and label. CE is that of each label against the rest; its mean is
    over voxels, and all is the mean over labels. Neighbourhoods end at the edge of the window and
    at voxels that do not count. The gradient goes through e as well. Paper: Zhao et al. 2019 (arXiv
    1910.08711).

    Args:
        ce_weight: l, 0..1.
        share: 0..1, which voxels count as different.
        kernel: odd number of voxels per axis.
        sigma: of the Gaussian, voxels.
        options: see LabelLoss.

    Raises:
        ConfigError: a value out of its range.
    """

    def __init__(
        self,
        *,
        ce_weight: float = 0.5,
        share: float = 0.1,
        kernel: int = 3,
        sigma: float = 1.5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("ce_weight", ce_weight), ("share", share)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must be in 0..1, not {value}")
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(
                f"kernel must be an odd number of voxels, for example 3, not {kernel}"
            )
        if sigma <= 0:
            raise ConfigError(f"sigma must be above 0 voxels, not {sigma}")
        self.ce_weight, self.share = ce_weight, share
        self.kernel, self.sigma = kernel, sigma

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        entropy = -(windows.y * windows.log_p + (1 - windows.y) * windows.log_rest)
        error = self._differences(windows)
        largest = error.detach().amax(tuple(range(2, error.dim())), keepdim=True)
        least = (self.share * largest).clamp(min=_ROUNDING)
        chosen = (error.detach() > least).to(error.dtype)
        similar = windows.total(error * chosen * entropy) / windows.total(chosen).clamp(min=1)
        return self.ce_weight * windows.mean(entropy) + (1 - self.ce_weight) * similar

    def _differences(self, windows: Windows) -> Tensor:
        """E (B, C, ...), 0 where a voxel does not count."""
        valid = windows.valid
        there = torch.ones_like(windows.y[:, :1]) if valid is None else valid
        around = self._blurred(there).clamp(min=1e-12)
        normal = []
        for image in (windows.y, windows.p):
            mean = self._blurred(image) / around
            variance = self._blurred(image**2) / around - mean**2
            spread = (variance.clamp(min=0) + _LEAST_VARIANCE).sqrt()
            normal.append((image - mean + _STABLE) / (spread + _STABLE))
        return (normal[0] - normal[1]).abs() * there

    def _blurred(self, image: Tensor) -> Tensor:
        """The weighted sum around each voxel; what is outside counts as 0."""
        places = torch.arange(self.kernel, device=image.device, dtype=image.dtype)
        weights = torch.exp(-((places - self.kernel // 2) ** 2) / (2 * self.sigma**2))
        weights = weights / weights.sum()
        for axis in range(2, image.dim()):
            margin = [0, 0] * (image.dim() - 1 - axis) + [self.kernel // 2] * 2
            padded, size = functional.pad(image, margin), image.shape[axis]
            shifted = (w * padded.narrow(axis, i, size) for i, w in enumerate(weights))
            image = torch.stack(list(shifted)).sum(0)
        return image
