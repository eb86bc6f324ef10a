"""The blocks of a target grid that are worked on at a time, so that temporary arrays stay small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch

from .cells import TOLERANCE, Block


def axis_permutation(matrix: torch.Tensor) -> tuple[int, ...] | None:
    """For each target axis the source axis that follows it; None where axes are not parallel."""
    linear = matrix[:3, :3].abs().cpu().numpy()
    perm = linear.argmax(0)
    off_axis = linear.copy()
    off_axis[perm, range(3)] = 0
    # What is off the axes moves a voxel by less than the tolerance over any scan's some thousand
    # voxels.
    if sorted(perm) != [0, 1, 2] or off_axis.max() > TOLERANCE / 4096:
        return None
    return tuple(int(axis) for axis in perm)


def plane_blocks(extents: Sequence[slice], voxels: int) -> Iterator[Block]:
    """Blocks of at most `voxels` voxels (at least one row): whole planes where they fit."""
    x, y, z = extents
    rows = max(1, voxels // (z.stop - z.start))
    height = min(rows, y.stop - y.start)
    depth = max(1, rows // (y.stop - y.start))
    for i, j in product(range(x.start, x.stop, depth), range(y.start, y.stop, height)):
        yield slice(i, min(i + depth, x.stop)), slice(j, min(j + height, y.stop)), z


def cube_blocks(shape: Sequence[int], voxels: int) -> Iterator[Block]:
    """Blocks of at most `voxels` voxels, short along each axis so that few slabs touch each."""
    edge = max(1, min(64, int(voxels ** (1 / 3))))
    for starts in product(*(range(0, size, edge) for size in shape)):
        x, y, z = (slice(i, min(i + edge, size)) for i, size in zip(starts, shape, strict=True))
        yield x, y, z
