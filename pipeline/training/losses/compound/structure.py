"""The structure loss of TransFuse: cross-entropy and IoU that weigh voxels near boundaries more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .....data.errors import ConfigError
from .....networks.slices import to_slices
from ..checks import check_class_weights
from ..wrapping.segmentation_loss import SegmentationLoss
from ..wrapping.tensors import one_against_rest


class StructureLoss(nn.Module):
    """Boundary-weighted cross-entropy plus boundary-weighted IoU, one foreground class at a time.

    forward(logits (B, C, ...), labels (B, 1, ...) of whole numbers, valid (B, 1, ...) bool or None)
    -> scalar tensor, 0 or more. Voxels that are not valid weigh nothing, and count as outside. Of
    a mask m (0 or 1), a voxel weighs ``w = 1 + boundary * |mean of m around it - m|``; with p the
    probability the two terms are ``sum(w * BCE) / sum(w)`` and ``1 - (sum(w p m) + 1) / (sum(w (p +
    m)) - sum(w p m) + 1)``, sums over one case's voxels, the loss their mean over cases and
    classes. The mean is over a cube of ``kernel`` voxels per axis; what lies outside the window
    counts as 0.

    With one channel of logits this is, in 2D, the loss of Zhang et al. 2021, TransFuse (arXiv
    2102.08005), after Wei et al. 2020, F3Net (arXiv 1911.11445). The cube in 3D and the form for
    several classes are ours: each foreground class against the rest, its mask ``labels == c`` and p
    its softmax probability.

    Args:
        kernel: odd number of voxels; the papers' 31 suits images of a few hundred pixels a side.
        boundary: the papers' 5; 0 weighs all voxels the same.
        class_weights: factor on each class's term, background first (and not used); the mean is
            still over the number of classes.
        slices: each slice of the last axis is an image of its own, for 2D networks on volumes.

    Raises:
        ConfigError: an even kernel or a negative ``boundary``.
    """

    def __init__(
        self,
        *,
        kernel: int = 31,
        boundary: float = 5.0,
        class_weights: Sequence[float] | None = None,
        slices: bool = False,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(
                f"kernel must be an odd number of voxels, for example 31, not {kernel}"
            )
        if boundary < 0:
            raise ConfigError(f"boundary must be 0 or more, not {boundary}")
        self.kernel, self.boundary, self.slices = kernel, boundary, slices
        self.class_weights = None if class_weights is None else tuple(class_weights)

    def forward(self, logits: Tensor, labels: Tensor, valid: Tensor | None = None) -> Tensor:
        """The loss, averaged over cases and foreground classes; see the class."""
        if self.slices:
            logits, labels = to_slices(logits), to_slices(labels)
            if valid is not None:
                valid = to_slices(valid)
                there = valid.flatten(1).any(1)  # a slice without voxels that count has no loss
                logits, labels, valid = logits[there], labels[there], valid[there]
        if logits.shape[1] == 1:
            return self._binary(logits, labels.to(logits.dtype), valid).mean()
        against_rest = one_against_rest(logits)
        terms = []
        for c in range(1, logits.shape[1]):
            mask = (labels == c).to(logits.dtype)
            term = self._binary(against_rest[:, c : c + 1], mask, valid).mean()
            terms.append(term if self.class_weights is None else term * self.class_weights[c])
        return torch.stack(terms).mean()

    def _binary(self, logits: Tensor, mask: Tensor, valid: Tensor | None) -> Tensor:
        """The loss of each case (B,), of logits and mask (B, 1, ...)."""
        if valid is not None:
            mask = mask * valid
        weight = 1 + self.boundary * (local_mean(mask, self.kernel) - mask).abs()
        if valid is not None:
            weight = weight * valid
        entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        entropy, p, mask, weight = (
            t.flatten(1) for t in (entropy, torch.sigmoid(logits), mask, weight)
        )
        both = (weight * p * mask).sum(1)
        either = (weight * (p + mask)).sum(1) - both
        return (weight * entropy).sum(1) / weight.sum(1) + 1 - (both + 1) / (either + 1)


def local_mean(mask: Tensor, kernel: int) -> Tensor:
    """Mean of a mask of 0 and 1 over a cube of ``kernel`` voxels per axis around each voxel.

    Outside the mask counts as 0. Shape (B, 1, ...) and dtype of the mask. ``kernel`` is odd; it may
    be larger than the window.
    """
    # Running sums, in whole numbers: exact, the same on every device, and as fast for any kernel.
    count = mask.to(torch.int32)
    for axis in range(2, mask.dim()):
        margin = [0, 0] * (mask.dim() - 1 - axis) + [
            kernel // 2 + 1,
            kernel // 2,
        ]  # F.pad wants the last axis first
        running = functional.pad(count, margin).cumsum(axis, dtype=torch.int32)
        size = mask.shape[axis]
        count = running.narrow(axis, kernel, size) - running.narrow(axis, 0, size)
    return count.to(mask.dtype) / kernel ** (mask.dim() - 2)


def structure(
    *,
    kernel: int = 31,
    boundary: float = 5.0,
    class_weights: Sequence[float] | None = None,
    slices: bool = False,
    sigmoid: bool = False,
) -> SegmentationLoss:
    """Boundary-weighted cross-entropy plus IoU of the foreground, as TransFuse trains.

    Paper: Zhang et al. 2021 (arXiv 2102.08005). Arguments are those of
    structure.StructureLoss, which says what is ours in 3D and with several classes.
    """
    check_class_weights(class_weights, sigmoid)
    options: dict[str, Any] = dict(kernel=kernel, boundary=boundary, slices=slices)
    return SegmentationLoss(
        StructureLoss(class_weights=class_weights, **options),
        sigmoid=sigmoid,
        class_weights=class_weights,
        remake=partial(structure, **options),
        masked=True,
    )
