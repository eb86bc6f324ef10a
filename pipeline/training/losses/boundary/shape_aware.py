"""The shape-aware loss: wrong voxels weigh by how far the predicted boundary is from the true."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distance_maps import DistanceLoss, inside_and_outside
from ..label_loss import Windows


class ShapeAwareLoss(DistanceLoss):
    """Cross-entropy plus ``E`` times that of the voxels where prediction and truth differ.

    E is the mean distance from the predicted boundary's voxels to the true boundary's. A label is
    predicted where it is the most probable one (with one channel: where p is above 0.5); the
    boundary of a mask are its voxels that have a face to the outside. E is 0 where one of the two
    has no boundary. Cross-entropy is that of `cross_entropy`, each label's term with its own E.
    Paper: Al Arif et al. 2017, Shape-aware deep convolutional neural network for vertebrae
    segmentation, after Jadon 2020 (arXiv 2006.14822).

    Args:
        options: see DistanceLoss.
    """

    sums_labels = True

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        entropy = -windows.y * windows.log_p
        if not windows.exclusive:
            entropy = entropy - (1 - windows.y) * windows.log_rest
        predicted, truth = self._predicted(windows), windows.y > 0
        far = mean_boundary_distance(predicted, truth, self.spacing).to(entropy.dtype)
        differ = (predicted ^ truth).to(entropy.dtype)
        return windows.mean(entropy) + far * windows.mean(differ * entropy)

    @staticmethod
    def _predicted(windows: Windows) -> Tensor:
        if not windows.exclusive:
            return windows.p.detach() > 0.5
        labels = windows.input.detach().argmax(1, keepdim=True)
        channels = torch.arange(windows.start, windows.input.shape[1], device=labels.device)
        mask = labels == channels.reshape(1, -1, *([1] * (labels.dim() - 2)))
        return mask if windows.valid is None else mask & (windows.valid > 0)


@torch.no_grad()
def mean_boundary_distance(
    predicted: Tensor, truth: Tensor, spacing: Sequence[float] | None = None
) -> Tensor:
    """The mean distance of the predicted boundary's voxels to the true one's, (B, C).

    Args:
        predicted, truth: (B, C, ...) bool.
        spacing: mm per axis; None for voxels.
    """
    start, end = boundary_voxels(predicted), boundary_voxels(truth)
    _, away = inside_and_outside(end, spacing)  # 0 on the true boundary
    many = start.flatten(2).sum(2)
    there = (many > 0) & end.flatten(2).any(2)
    mean = (away * start).flatten(2).sum(2) / many.clamp(min=1)
    return torch.where(there, mean, 0.0)


def boundary_voxels(masks: Tensor) -> Tensor:
    """The voxels (B, C, ...) of each mask that have a face to a voxel outside it.

    The edge of the window is no boundary.
    """
    inner = masks.clone()
    for axis in range(2, masks.dim()):
        size = masks.shape[axis]
        first, last = masks.narrow(axis, 0, size - 1), masks.narrow(axis, 1, size - 1)
        inner.narrow(axis, 0, size - 1).logical_and_(last)
        inner.narrow(axis, 1, size - 1).logical_and_(first)
    return masks & ~inner
