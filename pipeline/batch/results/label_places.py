"""Where the labels of a mask lie: their centres, and the slices that they leave out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....data.geometry.affines import Affine, orientation
from ....transforms.connected import Components


def centres_mm(found: Components, affine: Affine) -> dict[int, NDArray[np.float64]]:
    """Label -> its centre of mass (3,) in RAS+ mm; without labels that have no voxel.

    Args:
        found: the components of a label map (X, Y, Z).
        affine: (4, 4) of its grid.
    """
    runs = found.runs
    length = (runs.end - runs.start).astype(np.float64)
    index = [one.astype(np.float64) for one in np.unravel_index(runs.start, runs.shape)]
    index[-1] += (length - 1) / 2  # a run's middle
    label = runs.label.astype(np.int64)
    voxels = np.bincount(label, weights=length)
    sums = [np.bincount(label, weights=one * length) for one in index]
    back = np.argsort(found.order)
    return {
        value: affine[:3, :3] @ np.array([sums[axis][value] for axis in back]) / voxels[value]
        + affine[:3, 3]
        for value in np.flatnonzero(voxels).tolist()
    }


def missing_slices(found: Components, affine: Affine, *, specks: float = 0.0) -> dict[int, int]:
    """Label -> slices without it between its lowest and its highest, across the patient's length.

    Args:
        found: the components of a label map (X, Y, Z).
        affine: (4, 4) of its grid.
        specks: components below this share of their label's voxels do not count.
    """
    if not len(found.label):
        return {}
    across = next(axis for axis, code in enumerate(orientation(affine)) if code in "SI")
    axis = found.order.index(across)
    runs = found.runs
    whole = np.bincount(found.label, weights=found.voxels)
    counted = (found.voxels >= specks * whole[found.label])[found.owner]
    if not counted.any():  # of noise all pieces are specks
        return {}
    label, start, end = found.label[found.owner][counted], runs.start[counted], runs.end[counted]
    index = np.unravel_index(start, runs.shape)[axis]
    last = index if axis < 2 else index + (end - start) - 1
    # +1 where a run begins, -1 behind its end: their sum over slices counts the runs in each
    steps = np.zeros((int(label.max()) + 1, runs.shape[axis] + 1), dtype=np.int64)
    np.add.at(steps, (label, index), 1)
    np.add.at(steps, (label, last + 1), -1)
    there = np.cumsum(steps, axis=1)[:, :-1] > 0
    gaps = {}
    for value in np.flatnonzero(there.any(axis=1)).tolist():
        used = np.flatnonzero(there[value])
        gaps[value] = int(used[-1] - used[0] + 1 - len(used))
    return gaps
