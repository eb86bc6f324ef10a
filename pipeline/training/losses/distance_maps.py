"""Euclidean distances to the boundaries of masks, as losses weigh voxels by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.transforms.utils import distance_transform_edt
from torch import Tensor

from ....data.errors import ConfigError
from .label_loss import LabelLoss


class DistanceLoss(LabelLoss):
    """A loss that weighs by distances.

    Args:
        spacing: mm per axis; None for distances in voxels.
        options: see LabelLoss.

    Raises (forward):
        ConfigError: the spacing has not one number per axis.
    """

    def __init__(self, *, spacing: Sequence[float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.spacing = spacing


@torch.no_grad()
def inside_and_outside(masks: Tensor, spacing: Sequence[float] | None) -> tuple[Tensor, Tensor]:
    """Each voxel's distance to the nearest voxel of the other kind, of each mask.

    MONAI's distance transform: scipy's on CPUs, cuCIM's on CUDA where it is installed.

    Args:
        masks: (B, C, ...) bool.
        spacing: mm per axis; None for distances in voxels.

    Returns:
        Of voxels in the mask, 0 elsewhere; of voxels outside, 0 in the mask; (B, C, ...) float32.
        Both are 0 of a mask that is empty or full: it has no boundary.

    Raises:
        ConfigError: the spacing has not one number per axis.
    """
    check_spacing(spacing, masks.dim() - 2)
    inside = torch.zeros(masks.shape, dtype=torch.float32, device=masks.device)
    outside = torch.zeros_like(inside)
    for case in range(masks.shape[0]):
        for label in range(masks.shape[1]):
            mask = masks[case, label]
            if bool(mask.any()) and not bool(mask.all()):
                for distances, of in ((inside, mask), (outside, ~mask)):
                    found = distance_transform_edt(of[None], sampling=_sampling(spacing))
                    distances[case, label] = cast(Tensor, found)[0].to(torch.float32)
    return inside, outside


def check_spacing(spacing: Sequence[float] | None, axes: int) -> None:
    """Refuse a spacing that has not one number above 0 per axis."""
    if spacing is not None and (len(spacing) != axes or min(spacing) <= 0):
        raise ConfigError(f"spacing {list(spacing)} must be {axes} numbers above 0, in mm")


def _sampling(spacing: Sequence[float] | None) -> list[float] | None:
    return None if spacing is None else [float(one) for one in spacing]
