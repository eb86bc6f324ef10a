"""Where voxels are in the patient: small pure functions on 4x4 affines, and the grid of a volume.

An affine maps homogeneous voxel indices (i, j, k, 1) to millimetres in nibabel's RAS+ world: x
grows to the patient's right, y to the front (anterior), z to the head (superior). Integer indices
are voxel centres.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ImageError

Affine = NDArray[np.float64]

# Below these a grid has no usable inverse: a voxel edge in mm, and the volume of the cell spanned
# by the unit axes (1 for perpendicular axes; a gantry tilt of 30 degrees still has 0.87).
_SMALLEST_EDGE_MM = 1e-6
_SMALLEST_UNIT_VOLUME = 1e-3


def spacing(affine: ArrayLike) -> NDArray[np.float64]:
    """Edge lengths of a voxel in mm.

    Args:
        affine: (4, 4), voxel index to RAS+ mm.

    Returns:
        (3,), the length of the step along each voxel axis; shear does not change what a step is
            long.
    """
    steps = np.asarray(affine, dtype=np.float64)[:3, :3]
    return np.sqrt((steps**2).sum(axis=0))


def direction(affine: ArrayLike) -> NDArray[np.float64]:
    """Unit vectors of the voxel axes.

    Args:
        affine: (4, 4), voxel index to RAS+ mm, no voxel edge of length zero.

    Returns:
        (3, 3); column n is the direction, in RAS+, in which voxel index n grows.
    """
    return np.asarray(affine, dtype=np.float64)[:3, :3] / spacing(affine)


def orientation(affine: ArrayLike) -> str:
    """The anatomical directions in which the three indices grow, nearest whole axes.

    Args:
        affine: (4, 4), voxel index to RAS+ mm, not singular.

    Returns:
        Three letters of R/L, A/P, S/I, for instance "LPS" for a CT as most scanners store it.

    Raises:
        ImageError: the affine is singular, so that an axis points nowhere.
    """
    codes = nib.orientations.aff2axcodes(np.asarray(affine, dtype=np.float64))
    if None in codes:
        raise ImageError(
            f"the affine is singular, so its axes have no orientation: {_flat(affine)}"
        )
    return "".join(codes)


def is_orthonormal(affine: ArrayLike, tolerance: float = 1e-4) -> bool:
    """Whether the voxel axes are at right angles to each other (no shear); handedness does not matter.

    Args:
        affine: (4, 4), voxel index to RAS+ mm.
        tolerance: largest cosine between two axes that still counts as a right angle.
    """
    axes = direction(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= tolerance)


def is_oblique(affine: ArrayLike, tolerance_degrees: float = 0.1) -> bool:
    """Whether some voxel axis is more than the tolerance away from the nearest patient axis."""
    axes = np.sort(np.abs(direction(affine)), axis=0)
    # The angle by its tangent: an arc cosine loses half of the digits near zero.
    angles = np.arctan2(np.hypot(axes[0], axes[1]), axes[2])
    return bool(np.degrees(angles).max() > tolerance_degrees)


def why_unusable(affine: ArrayLike) -> str | None:
    """What keeps an affine from placing voxels in space, in words, or None when it is sound.

    Args:
        affine: (4, 4); sound is: finite, last row 0 0 0 1, every edge longer than 1e-6 mm, axes not
            in one plane.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        return f"an affine is 4 x 4, this one has the shape {matrix.shape}"
    if not np.isfinite(matrix).all():
        return "the affine holds NaN or infinity"
    if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
        return f"the affine's last row is {matrix[3].tolist()}, not 0 0 0 1"
    if spacing(matrix).min() <= _SMALLEST_EDGE_MM:
        return "the affine is singular: a voxel edge has no length"
    if abs(np.linalg.det(direction(matrix))) <= _SMALLEST_UNIT_VOLUME:
        return "the affine is singular: its three axes lie in one plane"
    return None


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a volume: how many voxels, and where they are.

    Compare two with `same_grid`; `==` is identity.

    Args:
        shape: (X, Y, Z), each at least 1.
        affine: (4, 4) float64, voxel index to RAS+ mm; copied.

    Raises:
        ImageError: not three positive sizes, or an affine that is not finite or is singular.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ImageError(f"a volume has three positive sizes, this one has {shape}")
        trouble = why_unusable(self.affine)
        if trouble is not None:
            raise ImageError(f"{trouble} ({_flat(self.affine)})")
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
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

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
    """
    last = np.asarray(shape[:3], dtype=np.float64) - 1.0
    indices = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float64) * last
    return nib.affines.apply_affine(np.asarray(affine, dtype=np.float64), indices)


def same_grid(a: Grid, b: Grid, tolerance_mm: float = 0.01) -> bool:
    """Whether two grids have one shape and no voxel centre farther apart than the tolerance.

    The distance between two affine maps is largest at a corner, so the eight corners are enough.
    """
    if a.shape != b.shape:
        return False
    return bool(np.linalg.norm(a.corners() - b.corners(), axis=1).max() <= tolerance_mm)


def voxel_map(source: Grid, target: Grid) -> Affine:
    """Where the target's voxels lie in the source: the way a resampling looks things up.

    Returns:
        (4, 4); homogeneous voxel index of the target -> homogeneous, fractional voxel index of the
            source.
    """
    mapping: Affine = np.linalg.solve(source.affine, target.affine).astype(np.float64)
    mapping[3] = (0.0, 0.0, 0.0, 1.0)
    return mapping


def _flat(affine: ArrayLike) -> str:
    rows = np.asarray(affine, dtype=np.float64)[:3].tolist()
    return "; ".join(" ".join(f"{number:.6g}" for number in np.atleast_1d(row)) for row in rows)
