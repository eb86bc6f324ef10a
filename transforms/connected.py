"""Connected components of label maps, of all labels in one pass and without an array of their ids.

A label map is taken as runs: voxels of one label next to each other along the axis that is the
fastest in memory. Runs that touch are the edges of a graph, whose components SciPy finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

_CHUNK = 1 << 22  # voxels looked at together, so that no copy of the whole volume exists
_NEXT_LINES = ((0, 1), (1, -1), (1, 0), (1, 1))  # of the 8 lines around a line, those that follow

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of one label along an array's last axis, in the order of their voxels.

    Args:
        shape: of the array.
        start, end: flat indices of the first voxel, and of the one behind the last.
        label: of each run.
    """

    shape: tuple[int, ...]
    start: Ints
    end: Ints
    label: NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Components:
    """The connected components (26 neighbours) of each label; the background is none.

    Args:
        label: of each component.
        voxels: of each component.
        order: the label map's axes, the slowest in memory first, as `runs` has them.
        runs: what the components are made of.
        owner: of each run, the index of its component.
    """

    label: Ints
    voxels: Ints
    order: tuple[int, ...]
    runs: Runs
    owner: NDArray[np.int32]

    def first_voxels(self, wanted: Ints) -> Ints:
        """The smallest index of each wanted component's voxels in a flat map (X, Y, Z)."""
        place = np.full(len(self.label), -1)
        place[wanted] = np.arange(len(wanted))
        asked = np.flatnonzero(place[self.owner] >= 0)
        index = np.unravel_index(self.runs.start[asked], self.runs.shape)
        back = np.argsort(self.order)
        shape = tuple(self.runs.shape[axis] for axis in back)
        flat = np.ravel_multi_index(tuple(index[axis] for axis in back), shape)
        first = np.full(len(wanted), np.iinfo(np.int64).max)
        np.minimum.at(first, place[self.owner[asked]], flat)
        return first


def connected_components(labels: NDArray[np.integer]) -> Components:
    """The components of a label map (X, Y, Z) of any order in memory.

    >>> found = connected_components(np.array([[[1, 0, 2, 2], [1, 0, 0, 1]]]))
    >>> found.label.tolist(), found.voxels.tolist()
    ([1, 2, 1], [2, 2, 1])
    """
    order = _memory_order(labels)
    runs = _runs(labels.transpose(order))
    owner = np.arange(len(runs.start), dtype=np.int32)
    for step in _NEXT_LINES:
        owner = _joined(owner, *_touching(runs, step))
    count = int(owner.max()) + 1 if len(owner) else 0
    voxels = np.bincount(owner, weights=runs.end - runs.start, minlength=count).astype(np.int64)
    label = np.zeros(count, dtype=np.int64)
    label[owner] = runs.label
    return Components(label, voxels, order, runs, owner)


def erase(labels: NDArray[np.integer], found: Components, remove: NDArray[np.bool_]) -> None:
    """Make components of a label map background, in place.

    Args:
        labels: what `found` was found in.
        remove: for each component.
    """
    inside = labels.transpose(found.order)
    wanted = np.flatnonzero(remove[found.owner])
    start, length = found.runs.start[wanted], (found.runs.end - found.runs.start)[wanted]
    for part in _parts(length):
        begin, size = start[part], length[part]
        before = np.cumsum(size) - size
        at = np.arange(size.sum()) + np.repeat(begin - before, size)
        inside[np.unravel_index(at, inside.shape)] = 0


def _memory_order(labels: NDArray[np.generic]) -> tuple[int, ...]:
    """The axes, the slowest in memory first."""
    return tuple(np.argsort(labels.strides, kind="stable")[::-1].tolist())


def _runs(array: NDArray[np.integer]) -> Runs:
    planes = max(1, _CHUNK // max(1, array[0].size)) if len(array) else 1
    starts, ends, labels = [], [], []
    for plane in range(0, len(array), planes):
        flat = np.ascontiguousarray(array[plane : plane + planes]).ravel()
        if not flat.any():
            continue
        change = np.empty(len(flat), dtype=bool)
        np.not_equal(flat[1:], flat[:-1], out=change[1:])
        change[:: array.shape[2]] = True  # a run ends with its line
        start = np.flatnonzero(change)
        label = flat[start]
        kept = label != 0
        offset = plane * array[0].size
        starts.append(start[kept] + offset)
        ends.append(np.append(start[1:], len(flat))[kept] + offset)
        labels.append(label[kept])
    if not starts:
        return Runs(array.shape, *(np.zeros(0, dtype=np.int64) for _ in range(3)))
    return Runs(array.shape, np.concatenate(starts), np.concatenate(ends), np.concatenate(labels))


def _touching(runs: Runs, step: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of runs of one label that touch: a run, and one in the line that is `step` further."""
    _, lines, length = runs.shape
    firsts, seconds = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for begin in range(0, len(runs.start), _CHUNK // 16):
        part = slice(begin, begin + _CHUNK // 16)
        line, start = np.divmod(runs.start[part], length)
        end = runs.end[part] - line * length
        row = line % lines + step[1]
        there = np.flatnonzero((row >= 0) & (row < lines))
        other = (line[there] + step[0] * lines + step[1]) * length
        # it ends at this one's start or behind, and begins at this one's end or before
        low = np.searchsorted(runs.end, other + np.maximum(start[there], 1))
        high = np.searchsorted(runs.start, other + np.minimum(end[there] + 1, length))
        count = np.maximum(high - low, 0)
        first = np.repeat(there, count) + begin
        second = np.arange(len(first)) + np.repeat(low - (np.cumsum(count) - count), count)
        same = runs.label[first] == runs.label[second]
        firsts.append(first[same].astype(np.int32))
        seconds.append(second[same].astype(np.int32))
    return np.concatenate(firsts), np.concatenate(seconds)


def _joined(
    owner: NDArray[np.int32], first: NDArray[np.int32], second: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The owners of runs after the owners of pairs of runs became one."""
    if not len(first):
        return owner
    count = int(owner.max()) + 1
    pairs = sparse.coo_array(
        (np.ones(len(first), dtype=bool), (owner[first], owner[second])), (count, count)
    )
    joined: NDArray[np.int32] = csgraph.connected_components(pairs.tocsr(), directed=False)[1]
    return joined[owner]


def _parts(length: Ints) -> Iterator[slice]:
    """Runs that follow one another, about _CHUNK voxels together."""
    borders = np.flatnonzero(np.diff(np.cumsum(length) // _CHUNK)) + 1
    for begin, end in pairwise([0, *borders.tolist(), len(length)]):
        yield slice(begin, end)
