"""Which voxels of a mask are labelled, and how many of them lie in each slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_VOXELS_AT_A_TIME = 2**19  # what is made of them stays in a cache


def foreground(labels: NDArray[np.generic]) -> NDArray[np.intp]:
    """Where labels are not 0, as flatnonzero finds it; eight bytes are looked at at a time.

    Args:
        labels: (n,).

    >>> foreground(np.array([0, 3, 0, 0, 1], dtype=np.uint8)).tolist()
    [1, 4]
    """
    each = 8 // labels.itemsize
    whole = len(labels) - len(labels) % each
    # most of a mask is background, eight voxels of it in a row
    words = np.flatnonzero(np.ascontiguousarray(labels[:whole]).view(np.uint64))
    near = (words[:, None] * each + np.arange(each)).reshape(-1)
    near = np.concatenate((near, np.arange(whole, len(labels))))
    return near[labels[near] != 0]


def cross_sections(labels: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """Voxels of each label in each slice across each axis.

    Args:
        labels: (X, Y, Z) whole numbers, in any order in memory; what is not above 0 is background.

    Returns:
        For each axis (values, slices): row v is of the label v; row 0, the background's, is 0.

    >>> one = np.zeros((2, 3, 4), dtype=np.uint8)
    >>> one[1, :, 2] = 1
    >>> [found[1].tolist() for found in cross_sections(one)]
    [[0, 3], [1, 1, 1], [0, 0, 3, 0]]
    """
    backwards = tuple(axis for axis, stride in enumerate(labels.strides) if stride < 0)
    forwards = np.flip(labels, backwards)
    # in the order of the memory, so that planes are views of it
    order = np.argsort([-stride for stride in forwards.strides], kind="stable")
    planes = forwards.transpose(order)
    values = max(int(labels.max(initial=0)), 0) + 1
    counts = [np.zeros((values, size), dtype=np.int64) for size in planes.shape]
    step = max(1, _VOXELS_AT_A_TIME // max(1, planes[0].size))
    for start in range(0, len(planes), step):
        part = planes[start : start + step]
        flat = part.reshape(-1)
        inside = foreground(flat)
        inside = inside[flat[inside] > 0]
        found = flat[inside].astype(np.intp)
        index = list(np.unravel_index(inside, part.shape))
        index[0] = index[0] + start
        for count, own in zip(counts, index, strict=True):
            cells = np.bincount(found * count.shape[1] + own, minlength=count.size)
            count += cells.reshape(count.shape)
    back = [counts[int(place)] for place in np.argsort(order)]
    return [np.flip(count, 1) if axis in backwards else count for axis, count in enumerate(back)]
