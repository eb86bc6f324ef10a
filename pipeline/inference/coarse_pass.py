"""A first pass at a coarser resolution: where the windows at the full one have to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.nn import functional

from ...transforms.restore.slabs import ScoreSlabs

OVERLAP = 0.25  # of the coarse windows: it is only to be found, not outlined
_CHANCE = 0.1  # of any label, above which a coarse voxel is worth a look; see `found_region`
_MARGIN = 3  # coarse voxels around what was found


def coarser(image: torch.Tensor, factor: float) -> torch.Tensor:
    """An image (C, *spatial) of voxels that are `factor` times as large: means of the fine ones."""
    size = [max(1, round(length / factor)) for length in image.shape[1:]]
    return functional.interpolate(image[None].float(), size=size, mode="area")[0]


def found_region(
    slabs: ScoreSlabs,
    shape: Iterable[int],
    *,
    regions: bool,
    thresholds: Sequence[float] | None = None,
) -> torch.Tensor | None:
    """Where a coarse pass saw any label, with a margin around it.

    Args:
        slabs: of the coarse volume.
        shape: spatial sizes of the fine one.
        regions: channels overlap, and none is the background's.
        thresholds: above which voxels are a label's; none that is may be overlooked.

    Returns:
        (*shape) bool, on the CPU; None where nothing was seen, so that all windows are to run.
    """
    chance = min([_CHANCE, *(0.5 * one for one in thresholds or ())])
    seen = torch.zeros([slabs.shape[axis] for axis in slabs.order], dtype=torch.bool)
    for slab in slabs:
        chances = _chances(slab.scores.float(), slabs.probabilities, regions=regions)
        seen[slab.start : slab.start + len(chances)] = (chances > chance).cpu()
    if not bool(seen.any()):
        return None
    back = [slabs.order.index(axis) for axis in range(len(slabs.shape))]
    volume = seen.permute(*back)[None, None].float()
    wide = functional.max_pool3d(volume, 2 * _MARGIN + 1, stride=1, padding=_MARGIN)
    return functional.interpolate(wide, size=list(shape), mode="nearest")[0, 0] > 0


def _chances(scores: torch.Tensor, probabilities: bool, *, regions: bool) -> torch.Tensor:
    """The chance of any label, (...), of scores (..., C)."""
    alone = scores.shape[-1] == 1 or regions
    if not probabilities:
        scores = scores.sigmoid() if alone else scores.softmax(-1)
    return scores.amax(-1) if alone else 1 - scores[..., 0]
