"""The box of voxels that something fills."""

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(*masks: NDArray[np.generic]) -> Box:
    """The smallest box that holds all voxels other than 0 of arrays of one shape.

    Args:
        masks: at least one array, all of one shape.

    Returns:
        One slice per axis, with start and stop; empty slices when every voxel is 0.

    Example:
        >>> mask = np.zeros((5, 4, 3), bool)
        >>> mask[1:3, 2, 0] = True
        >>> bounding_box(mask)
        (slice(1, 3, None), slice(2, 3, None), slice(0, 1, None))
    """
    box = []
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        used = np.flatnonzero(np.any([mask.any(axis=others) for mask in masks], axis=0))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return tuple(box)
