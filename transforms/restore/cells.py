"""Labels by cells of 8 voxels: looked up where corners agree, interpolated where they do not.

A cell is the box between 8 neighbouring voxels of the scores' grid, its index that of its lowest
corner. Scores come as a part of a volume: rows `first` up to some other along the volume's first
axis, channels last. Labels of a part are those of the cells between its rows.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from .regions import region_bits
from .scores_error import ScoresError
from .thresholds import Threshold, of_channel

Block = tuple[slice, slice, slice]
TOLERANCE = 1e-4
"""In source voxels: what maps between float64 affines may be off by."""
_TIE = 1e-6  # what rounding may take from a coordinate that is half-way between two voxels
MIXED = -1
"""In place of a label: the cell's corners disagree."""

_INDEX = torch.int16  # of labels, with room for MIXED
# A voxel in a mixed cell takes two float32 per channel (running sum, corner being added) beside its
# weights.
_BYTES_PER_MIXED_VOXEL = 256
_CACHED = 2**20  # bytes of scores at a time, so that they stay in the CPU's cache


def decide(
    scores: torch.Tensor, threshold: Threshold = 0.0, *, regions: bool = False
) -> torch.Tensor:
    """Label of each voxel, int16: argmax over the last axis; of one channel 1 above `threshold`.

    Args:
        threshold: of scores, one for all channels or one each.
        regions: channels overlap; the label is the bits of those above their threshold.

    Raises:
        ScoresError: a voxel's highest score is NaN or infinite.
    """
    if regions:
        best, labels = scores, region_bits(scores, dim=-1, threshold=threshold)
    elif scores.shape[-1] == 1:
        best, labels = scores[..., 0], scores[..., 0] > of_channel(threshold, 0)
    else:
        best, labels = scores.max(-1)
    if not torch.isfinite(best.sum(dtype=torch.float32)) and not torch.isfinite(best).all():
        raise ScoresError
    return labels.to(_INDEX)


def cell_labels(labels: torch.Tensor) -> torch.Tensor:
    """Label of each cell of 8 voxels, or MIXED; (x, y, z) -> each max(size - 1, 1)."""
    cells = labels
    # a cell is uniform when its 2 corners along each axis agree, axis after axis
    for axis in range(3):
        if labels.shape[axis] > 1:
            low, high = (
                cells.narrow(axis, 0, labels.shape[axis] - 1),
                cells.narrow(axis, 1, labels.shape[axis] - 1),
            )
            cells = torch.where(low == high, low, MIXED)
    return cells


def cell_index(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    """The cell along an axis of `size` voxels of each coordinate; beyond the border the last."""
    return coordinates.floor().clamp_(0, max(size - 2, 0)).long()


def outside(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    """Whether coordinates lie more than one voxel outside an axis of `size` voxels."""
    return (coordinates < -1 - TOLERANCE) | (coordinates > size + TOLERANCE)


def axis_coordinates(
    matrix: torch.Tensor, source_axis: int, axis: int, extent: slice, *, nearest: bool = False
) -> torch.Tensor:
    """Coordinates along a source axis that follows one target axis only.

    Args:
        nearest: those of the nearest voxels.
    """
    index = torch.arange(extent.start, extent.stop, dtype=torch.float64, device=matrix.device)
    coordinates = matrix[source_axis, axis] * index + matrix[source_axis, 3]
    return snapped(coordinates) if nearest else coordinates


def snapped(coordinates: torch.Tensor) -> torch.Tensor:
    """The nearest voxel's coordinates; between two the upper one's.

    >>> snapped(torch.tensor([0.4, 0.5, 0.49999999, 1.5, -0.5], dtype=torch.float64)).tolist()
    [0.0, 1.0, 1.0, 2.0, 0.0]
    """
    return (coordinates + (0.5 + _TIE)).floor()


def look_up_separable(
    cells: torch.Tensor,
    first: int,
    matrix: torch.Tensor,
    perm: Sequence[int],
    sizes: Sequence[int],
    block: Block,
    nearest: int | None = None,
) -> torch.Tensor:
    """Cell labels at the block's voxels where each source axis follows one target axis.

    Args:
        cells: of the part whose first row is `first`; all of the block's voxels lie in them.
        matrix: (4, 4) float64, target voxel index -> source voxel index.
        perm: the source axis of each target axis.
        sizes: voxels of the whole source volume.
        block: part of the target grid.
        nearest: a source axis along which the nearest voxel counts.
    """
    found, beyond = cells.permute(*perm), []
    # the axis that shrinks most first
    ratio = [(extent.stop - extent.start) / found.shape[axis] for axis, extent in enumerate(block)]
    for axis in sorted(range(3), key=ratio.__getitem__):
        source_axis = perm[axis]
        coordinates = axis_coordinates(
            matrix, source_axis, axis, block[axis], nearest=source_axis == nearest
        )
        index = cell_index(coordinates, sizes[source_axis]) - (first if source_axis == 0 else 0)
        found = found.index_select(axis, index)
        beyond.append((axis, outside(coordinates, sizes[source_axis])))
    for axis, mask in beyond:
        if mask.any():
            found.index_fill_(axis, mask.nonzero()[:, 0], 0)
    return found


def look_up(
    cells: torch.Tensor,
    first: int,
    matrix: torch.Tensor,
    sizes: Sequence[int],
    block: Block,
    nearest: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cell labels at the block's voxels for any map between the grids, and which lie in cells."""
    x, y, z = (
        torch.arange(e.start, e.stop, dtype=torch.float64, device=cells.device) for e in block
    )
    index = torch.zeros(len(x), len(y), len(z), dtype=torch.int64, device=cells.device)
    beyond = torch.zeros_like(index, dtype=torch.bool)
    inside = torch.ones_like(beyond)
    for axis, size in enumerate(sizes):
        plane = matrix[axis, 1] * y[:, None] + (matrix[axis, 2] * z + matrix[axis, 3])
        coordinates = (matrix[axis, 0] * x)[:, None, None] + plane
        if axis == nearest:
            coordinates = snapped(coordinates)
        beyond |= outside(coordinates, size)
        cell = cell_index(coordinates, size)
        if axis == 0:
            cell -= first
            inside = (cell >= 0) & (cell < cells.shape[0])
            cell.clamp_(0, cells.shape[0] - 1)
        index.mul_(cells.shape[axis]).add_(cell)
    return cells.take(index).masked_fill_(beyond, 0), inside


def decide_mixed(
    found: torch.Tensor,
    scores: torch.Tensor,
    first: int,
    matrix: torch.Tensor,
    sizes: Sequence[int],
    block: Block,
    *,
    threshold: Threshold,
    max_bytes: float,
    regions: bool = False,
    nearest: int | None = None,
) -> None:
    """Fill in the MIXED voxels of `found` by interpolating their scores (rows, y, z, C)."""
    flat = found.view(-1)
    mixed = (flat == MIXED).nonzero()[:, 0]
    step = max(1, int(max_bytes / (_BYTES_PER_MIXED_VOXEL + 12 * scores.shape[-1])))
    if scores.device.type == "cpu":
        step = min(step, max(256, _CACHED // (4 * scores.shape[-1])))
    for which in mixed.split(step):
        coordinates = block_coordinates(which, matrix, block, nearest)
        flat[which] = decide(
            interpolate(scores, first, coordinates, sizes), threshold, regions=regions
        )


def block_coordinates(
    which: torch.Tensor, matrix: torch.Tensor, block: Block, nearest: int | None = None
) -> torch.Tensor:
    """(m, 3) float64 source coordinates of m voxels of a block, given by their flat index in it.

    Args:
        nearest: a source axis along which they are those of the nearest voxels.
    """
    _, y, z = (extent.stop - extent.start for extent in block)
    rest = which // z
    index = torch.stack((rest // y, rest % y, which % z), 1).to(torch.float64)
    index += torch.tensor(
        [extent.start for extent in block], dtype=torch.float64, device=which.device
    )
    coordinates = index @ matrix[:3, :3].T + matrix[:3, 3]
    if nearest is not None:
        coordinates[:, nearest] = snapped(coordinates[:, nearest])
    return coordinates


def interpolate(
    scores: torch.Tensor, first: int, coordinates: torch.Tensor, sizes: Sequence[int]
) -> torch.Tensor:
    """(m, C) float32: scores (rows, y, z, C) trilinearly at (m, 3) coordinates, clamped."""
    _, *others, channels = scores.shape
    flat = scores.reshape(-1, channels)
    base = torch.zeros(len(coordinates), dtype=torch.int64, device=scores.device)
    fractions, steps = [], []
    for axis, size in enumerate(sizes):
        low = cell_index(coordinates[:, axis], size)
        if axis == 0:
            # on a voxel's centre, coordinates that were worked out in another way may fall into the
            # next cell, which this part may not hold; at the border between two cells either gives
            # the same
            low = low.clamp(first, first + max(len(scores) - 2, 0))
        fractions.append((coordinates[:, axis].clamp(0, size - 1) - low).clamp(0, 1).float())
        base = base * (size if axis else 1) + (low - first if axis == 0 else low)
        # On an axis of one voxel the fraction is 0 and the upper corner is the lower one.
        steps.append(0 if size == 1 else int(np.prod(others[axis:])))
    result = torch.zeros(len(coordinates), channels, dtype=torch.float32, device=scores.device)
    for corner in product((0, 1), repeat=3):
        weight = torch.ones_like(fractions[0])
        for upper, fraction in zip(corner, fractions, strict=True):
            weight = weight * (fraction if upper else 1 - fraction)
        offset = sum(upper * step for upper, step in zip(corner, steps, strict=True))
        result.addcmul_(flat.index_select(0, base + offset).float(), weight[:, None])
    return result
