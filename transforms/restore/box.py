"""The part of a scan that scores are brought back to, where it is not all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...data.geometry.grids import Grid

BOX, NEAREST = "restore_box", "restore_nearest"
"""Keys of an image's meta that preprocessing may set: (3, 2) first and last + 1 voxel along the
scan's axes, beyond which all is background; and the axis of the network's grid along which scores
are brought back by the nearest voxel, or -1."""

Dtype = TypeVar("Dtype", bound=np.generic)


@dataclass(frozen=True, eq=False)
class RestoreBox:
    """A box of a scan's voxels.

    Args:
        whole: the scan's grid.
        box: a slice per axis.
    """

    whole: Grid
    box: tuple[slice, ...]

    @classmethod
    def of(cls, meta: Mapping[str, Any], whole: Grid) -> RestoreBox:
        """The box of an image's meta; the whole scan where it says none."""
        found = meta.get(BOX)
        if found is None:
            return cls(whole, tuple(slice(0, size) for size in whole.shape))
        return cls(whole, tuple(slice(int(a), int(b)) for a, b in np.asarray(found).reshape(3, 2)))

    @property
    def grid(self) -> Grid:
        """The box's own grid."""
        x, y, z = (part.stop - part.start for part in self.box)
        affine = self.whole.affine.copy()
        start = np.array([part.start for part in self.box], dtype=np.float64)
        affine[:3, 3] += affine[:3, :3] @ start
        return Grid((x, y, z), affine)

    def filled(self, inside: NDArray[Dtype], outside: int = 0) -> NDArray[Dtype]:
        """An array of the whole scan, x fastest in memory, of one of the box and a value around."""
        if inside.shape == self.whole.shape:
            return inside
        whole: NDArray[Dtype] = np.full(self.whole.shape, outside, dtype=inside.dtype, order="F")
        whole[self.box] = inside
        return whole


def nearest_axis(meta: Mapping[str, Any]) -> int | None:
    """The axis along which the nearest voxel's scores are taken, of an image's meta, or None."""
    axis = int(meta.get(NEAREST, -1))
    return axis if axis >= 0 else None
