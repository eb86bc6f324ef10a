"""Cross-entropy that weighs a voxel the more, the nearer it is to a boundary of the truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distance_maps import DistanceLoss, inside_and_outside
from ..label_loss import Windows


class DistanceMapCrossEntropyLoss(DistanceLoss):
    """Distance-map penalised cross-entropy: the mean over voxels of ``(1 + f) * cross-entropy``.

    The penalty f of a label is the distance map of its true mask, reverted: ``1 - (d - d_min) /
    d_max``, 1 at the boundary, inside and outside each by its own distances. With softmax a voxel
    has the penalty of its true label's map. A label that a window does not have, or alone has, has
    no boundary there, and f is 0. Paper: Caliva et al. 2019 (arXiv 1908.03679), which leaves open
    how the map is scaled; this way a structure of one voxel's width is all boundary.

    Args:
        options: see DistanceLoss.
    """

    sums_labels = True

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        weight = 1 + reverted_distances(windows.y > 0, self.spacing).to(windows.y.dtype)
        found = -windows.mean(weight * windows.y * windows.log_p)
        if windows.exclusive:
            return found
        return found - windows.mean(weight * (1 - windows.y) * windows.log_rest)


def reverted_distances(masks: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """1 at the boundary of each mask, falling with the distance from it: (B, C, ...) float32.

    Args:
        masks: (B, C, ...) bool.
        spacing: mm per axis; None for voxels.
    """
    reverted = torch.zeros(masks.shape, dtype=torch.float32, device=masks.device)
    axes = tuple(range(2, masks.dim()))
    for distances in inside_and_outside(masks, spacing):
        farthest = distances.amax(axes, keepdim=True)
        beyond = distances > 0
        nearest = torch.where(beyond, distances, torch.inf).amin(axes, keepdim=True)
        reverted += torch.where(beyond, 1 - (distances - nearest) / farthest, 0.0)
    return reverted
