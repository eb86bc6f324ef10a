"""Where the body is in a CT, coarsely, and which voxels lie outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TISSUE_HU = -300.0
_LONGEST = 112  # voxels per axis of the coarse mask
_PIECE = 0.05  # of the largest piece: smaller ones are no body (a table, a tube)


@dataclass(frozen=True, eq=False)
class Body:
    """A coarse mask of the body.

    Args:
        mask: bool.
        step: (3,) voxels of the image per voxel of the mask.
        air: share of the image that is outside, 0..1.
    """

    mask: NDArray[np.bool_]
    step: tuple[int, int, int]
    air: float

    def outside(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which voxels, (N, 3) indices of the image, lie outside."""
        coarse = np.minimum(at // self.step, np.array(self.mask.shape) - 1)
        return ~self.mask[tuple(coarse.T)]


def find_body(array: NDArray[Any]) -> Body:
    """The body in a CT: tissue and the air that it encloses in an axial plane.

    Args:
        array: (X, Y, Z) HU, its axes towards RAS.
    """
    x, y, z = (max(1, -(-size // _LONGEST)) for size in array.shape)
    mask = np.asarray(array[::x, ::y, ::z] > _TISSUE_HU)
    labelled, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(labelled.ravel())
        sizes[0] = 0
        mask = (sizes >= _PIECE * sizes.max())[labelled]
    mask = _filled(mask)
    air = 1.0 - float(mask.mean())
    return Body(ndimage.binary_dilation(mask), (x, y, z), air)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with the holes of each axial plane filled: what does not reach the plane's rim."""
    within_plane = np.zeros((3, 3, 3), dtype=bool)
    within_plane[:, 1, 1] = within_plane[1, :, 1] = True
    air, count = ndimage.label(~mask, within_plane)
    open_air = np.zeros(count + 1, dtype=bool)
    open_air[air[[0, -1]]] = True
    open_air[air[:, [0, -1]]] = True
    open_air[0] = False
    return ~open_air[air]
