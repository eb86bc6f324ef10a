"""Which voxels of a mask are labelled, and how many of them lie in each slice."""

from __future__ import annotations

from typing import Any

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
        For each axis (labels, slices), a row for each label that is there, in the order of values.

    >>> one = np.zeros((2, 3, 4), dtype=np.uint8)
    >>> one[1, :, 2] = 1
    >>> [found[0].tolist() for found in cross_sections(one)]
    [[0, 3], [1, 1, 1], [0, 0, 3, 0]]
    """
    backwards = tuple(axis for axis, stride in enumerate(labels.strides) if stride < 0)
    forwards = np.flip(labels, backwards)
    # in the order of the memory, so that planes are views of it
    order = np.argsort([-stride for stride in forwards.strides], kind="stable")
    planes = forwards.transpose(order)
    step = max(1, _VOXELS_AT_A_TIME // max(1, planes[0].size))
    starts = range(0, len(planes), step)
    # rows by their places among those that are there: a value may be any number
    values = np.array(sorted({one for at in starts for one in _values(planes[at : at + step])}))
    counts = [np.zeros((len(values), size), dtype=np.int64) for size in planes.shape]
    for start in starts:
        part = planes[start : start + step]
        flat = part.reshape(-1)
        inside = foreground(flat)
        inside = inside[flat[inside] > 0]
        found = np.searchsorted(values, flat[inside])
        index = list(np.unravel_index(inside, part.shape))
        index[0] = index[0] + start
        for count, own in zip(counts, index, strict=True):
            cells = np.bincount(found * count.shape[1] + own, minlength=count.size)
            count += cells.reshape(count.shape)
    back = [counts[int(place)] for place in np.argsort(order)]
    return [np.flip(count, 1) if axis in backwards else count for axis, count in enumerate(back)]


def _values(part: NDArray[Any]) -> list[int]:
    """The values above 0 of a part of a mask."""
    flat = part.reshape(-1)
    found = flat[foreground(flat)]
    found = found[found > 0]
    small = found.dtype.itemsize <= 2  # else counting takes more memory than sorting
    there = np.flatnonzero(np.bincount(found)) if small else np.unique(found)
    return [int(one) for one in there]
