"""Grids: how many voxels a volume has and where they are.

World coordinates are millimetres in nibabel's RAS+; see `gridgate.data.geometry.affines`.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ImageError
from .affines import Affine, in_words, orientation, spacing, voxel_ml, why_unusable


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a volume: how many voxels, and where they are.

    Compare two with `same_grid`; `==` is identity.

    Args:
        shape: (X, Y, Z), each at least 1.
        affine: (4, 4) float64, voxel index to RAS+ mm; copied.

    Raises:
        ImageError: not three positive sizes, or an affine that is not finite or is singular.

    >>> grid = Grid((512, 512, 100), np.diag([-0.8, -0.8, 2.5, 1]))
    >>> grid.orientation, grid.spacing.tolist(), round(grid.voxel_ml, 6)
    ('LPS', [0.8, 0.8, 2.5], 0.0016)
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ImageError(f"a volume has three positive sizes, this one has {shape}")
        trouble = why_unusable(self.affine)
        if trouble is not None:
            raise ImageError(f"{trouble} ({in_words(self.affine)})")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", np.array(self.affine, dtype=np.float64))

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm."""
        return spacing(self.affine)

    @property
    def orientation(self) -> str:
        """Three letters such as "LPS"."""
        return orientation(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml, shear included."""
        return voxel_ml(self.affine)

    def corners(self) -> NDArray[np.float64]:
        """(8, 3) RAS+ mm: the centres of the eight corner voxels."""
        return corner_centres(self.shape, self.affine)


def corner_centres(shape: tuple[int, ...], affine: ArrayLike) -> NDArray[np.float64]:
    """Centres of the eight corner voxels of a volume.

    Args:
        shape: (X, Y, Z).
        affine: (4, 4), voxel index to RAS+ mm.

    Returns:
        (8, 3) RAS+ mm.

    >>> corner_centres((3, 1, 1), np.diag([2, 2, 2, 1]))[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0]
    """
    last = np.asarray(shape[:3], dtype=np.float64) - 1.0
    indices = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float64) * last
    return nib.affines.apply_affine(np.asarray(affine, dtype=np.float64), indices)


def same_grid(a: Grid, b: Grid, tolerance_mm: float = 0.01) -> bool:
    """Whether two grids have one shape and no voxel centre farther apart than the tolerance.

    The distance between two affine maps is largest at a corner, so the eight corners are enough.

    >>> grid = Grid((5, 5, 5), np.eye(4))
    >>> same_grid(grid, Grid((5, 5, 5), np.eye(4))), same_grid(grid, Grid((5, 5, 4), np.eye(4)))
    (True, False)
    """
    if a.shape != b.shape:
        return False
    return bool(np.linalg.norm(a.corners() - b.corners(), axis=1).max() <= tolerance_mm)


def voxel_map(source: Grid, target: Grid) -> Affine:
    """Where the target's voxels lie in the source: the way a resampling looks things up.

    Returns:
        (4, 4); homogeneous voxel index of the target -> homogeneous, fractional voxel index of the
            source.

    >>> whole, moved = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
    >>> moved[:3, 3] = 6, 8, 10
    >>> voxel_map(Grid((9, 9, 9), whole), Grid((4, 4, 4), moved))[:3, 3].tolist()
    [3.0, 4.0, 5.0]
    """
    mapping: Affine = np.linalg.solve(source.affine, target.affine).astype(np.float64)
    mapping[3] = (0.0, 0.0, 0.0, 1.0)
    return mapping
