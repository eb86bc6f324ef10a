"""Labels by cells of 8 voxels: looked up where the corners agree, interpolated only where they do not.

A cell is the box between 8 neighbouring voxels of the logits' grid, its index that of its lowest corner.
`block` is always a part of the target grid, `matrix` (4, 4) float64 maps target voxel indices to source voxel
indices, `sizes` is (x, y, z).
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

Block = tuple[slice, slice, slice]
TOLERANCE = 1e-4
"""In source voxels: what maps between float64 affines may be off by."""

_INDEX = torch.int16  # of labels, with room for _MIXED
_MIXED = -1
# A voxel in a mixed cell takes two float32 a channel (running sum, corner being added, comparison) beside its
# weights.
_BYTES_A_MIXED_VOXEL = 256
_CACHED = 2**16  # mixed voxels at a time, so that a few channels of them stay in the CPU's cache


def cell_labels(logits: torch.Tensor, max_bytes: float) -> torch.Tensor:
    """(x', y', z') int16: the label of each cell of 8 voxels, or _MIXED; x' = max(x - 1, 1), and so on."""
    _, *shape = logits.shape
    labels = torch.empty(shape, dtype=_INDEX, device=logits.device)
    step = max(1, int(max_bytes / (16 * max(1, shape[1] * shape[2]))))
    for start in range(0, shape[0], step):
        labels[start : start + step] = _decide(logits[:, start : start + step])
    cells = labels
    for axis in range(3):  # a cell is uniform when its 2 corners along each axis agree, axis after axis
        if shape[axis] > 1:
            low, high = cells.narrow(axis, 0, shape[axis] - 1), cells.narrow(axis, 1, shape[axis] - 1)
            cells = torch.where(low == high, low, _MIXED)
    return cells


def _decide(logits: torch.Tensor) -> torch.Tensor:
    """Argmax over the first axis; a running maximum is 4 to 10 times as fast there as torch's argmax."""
    if logits.shape[0] == 1:
        return (logits[0] > 0).to(torch.int16)
    best = logits[0].clone()
    labels = torch.zeros(best.shape, dtype=_INDEX, device=logits.device)
    for channel in range(1, logits.shape[0]):
        labels.masked_fill_(logits[channel] > best, channel)
        torch.maximum(best, logits[channel], out=best)
    return labels


def _coordinates(extent: slice, device: torch.device) -> torch.Tensor:
    return torch.arange(extent.start, extent.stop, dtype=torch.float64, device=device)


def _outside(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    return (coordinates < -1 - TOLERANCE) | (coordinates > size + TOLERANCE)


def _cell(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    return coordinates.floor().clamp_(0, max(size - 2, 0)).long()


def look_up_separable(
    cells: torch.Tensor, matrix: torch.Tensor, perm: Sequence[int], sizes: Sequence[int], block: Block
) -> torch.Tensor:
    """Cell labels at the block's voxels when each source axis follows one target axis: a look-up an axis."""
    found, outside = cells.permute(*perm), []
    for axis, (source_axis, extent) in enumerate(zip(perm, block, strict=True)):
        coordinates = matrix[source_axis, axis] * _coordinates(extent, cells.device) + matrix[source_axis, 3]
        found = found.index_select(axis, _cell(coordinates, sizes[source_axis]))
        outside.append(_outside(coordinates, sizes[source_axis]))
    for axis, mask in enumerate(outside):
        if mask.any():
            found.index_fill_(axis, mask.nonzero()[:, 0], 0)
    return found


def look_up(cells: torch.Tensor, matrix: torch.Tensor, sizes: Sequence[int], block: Block) -> torch.Tensor:
    """Cell labels at the block's voxels for any map between the grids: coordinates voxel by voxel."""
    x, y, z = (_coordinates(extent, cells.device) for extent in block)
    index = torch.zeros(len(x), len(y), len(z), dtype=torch.int64, device=cells.device)
    outside = torch.zeros_like(index, dtype=torch.bool)
    for axis, size in enumerate(sizes):
        plane = matrix[axis, 1] * y[:, None] + (matrix[axis, 2] * z + matrix[axis, 3])
        coordinates = (matrix[axis, 0] * x)[:, None, None] + plane
        outside |= _outside(coordinates, size)
        index.mul_(cells.shape[axis]).add_(_cell(coordinates, size))
    return cells.take(index).masked_fill_(outside, 0)


def decide_mixed(
    found: torch.Tensor, logits: torch.Tensor, matrix: torch.Tensor, block: Block, max_bytes: float
) -> None:
    """Fill in the voxels of `found` that are _MIXED by interpolating their logits."""
    flat = found.view(-1)
    mixed = (flat == _MIXED).nonzero()[:, 0]
    start = torch.tensor([extent.start for extent in block], dtype=torch.float64, device=found.device)
    step = max(1, int(max_bytes / (_BYTES_A_MIXED_VOXEL + 12 * logits.shape[0])))
    step = min(step, _CACHED) if logits.device.type == "cpu" else step
    for which in mixed.split(step):
        index = torch.stack(_unravel(which, found.shape), 1).to(torch.float64) + start
        coordinates = index @ matrix[:3, :3].T + matrix[:3, 3]
        flat[which] = _decide(_interpolate(logits, coordinates))


def _unravel(index: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rest = index // shape[2]
    return rest // shape[1], rest % shape[1], index % shape[2]


def _interpolate(logits: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """(C, m) float32: (C, x, y, z) interpolated at (m, 3) voxel coordinates, clamped to the border."""
    channels, *sizes = logits.shape
    flat = logits.view(channels, -1)
    base = torch.zeros(len(coordinates), dtype=torch.int64, device=logits.device)
    fractions, steps = [], []
    for axis, size in enumerate(sizes):
        low = _cell(coordinates[:, axis], size)
        fractions.append((coordinates[:, axis].clamp(0, size - 1) - low).float())
        base = base * size + low
        # On an axis of one voxel the fraction is 0 and the upper corner is the lower one.
        steps.append(0 if size == 1 else int(np.prod(sizes[axis + 1 :])))
    result = torch.zeros(channels, len(coordinates), dtype=torch.float32, device=logits.device)
    for corner in product((0, 1), repeat=3):
        weight = torch.ones_like(fractions[0])
        for upper, fraction in zip(corner, fractions, strict=True):
            weight = weight * (fraction if upper else 1 - fraction)
        offset = sum(upper * step for upper, step in zip(corner, steps, strict=True))
        result.addcmul_(flat.index_select(1, base + offset).float(), weight)
    return result
