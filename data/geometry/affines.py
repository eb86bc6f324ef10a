"""Affines: where voxel indices lie in the patient.

An affine maps homogeneous voxel indices (i, j, k, 1) to millimetres in nibabel's RAS+ world: x
grows to the patient's right, y to the front (anterior), z to the head (superior). Integer indices
are voxel centres.
"""

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
        (3,), the length of the step along each voxel axis; shear does not change it.

    >>> spacing(np.diag([-0.8, -0.8, 2.5, 1])).tolist()
    [0.8, 0.8, 2.5]
    """
    steps = np.asarray(affine, dtype=np.float64)[:3, :3]
    return np.sqrt((steps**2).sum(axis=0))


def voxel_ml(affine: ArrayLike) -> float:
    """Volume of one voxel in ml, shear included; of a 4 x 4 affine, or of its 3 x 3 axes in mm.

    >>> round(voxel_ml(np.diag([-1, 2, 5, 1])), 6)
    0.01
    """
    return float(abs(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3]))) / 1000.0


def direction(affine: ArrayLike) -> NDArray[np.float64]:
    """Unit vectors of the voxel axes.

    Args:
        affine: (4, 4), voxel index to RAS+ mm, no voxel edge of length zero.

    Returns:
        (3, 3); column n is the direction, in RAS+, in which voxel index n grows.

    >>> np.diag(direction(np.diag([-0.8, -0.8, 2.5, 1]))).tolist()
    [-1.0, -1.0, 1.0]
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

    >>> orientation(np.diag([-0.8, -0.8, 2.5, 1]))
    'LPS'
    """
    codes = nib.orientations.aff2axcodes(np.asarray(affine, dtype=np.float64))
    if None in codes:
        raise ImageError(
            f"the affine is singular, so its axes have no orientation: {in_words(affine)}"
        )
    return "".join(codes)


def is_orthonormal(affine: ArrayLike, tolerance: float = 1e-4) -> bool:
    """Whether the voxel axes are at right angles to each other (no shear), of either handedness.

    Args:
        affine: (4, 4), voxel index to RAS+ mm.
        tolerance: largest cosine between two axes that still counts as a right angle.

    >>> tilted = np.array([[1, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> is_orthonormal(np.diag([-0.8, -0.8, 2.5, 1])), is_orthonormal(tilted)
    (True, False)
    """
    axes = direction(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= tolerance)


def is_oblique(affine: ArrayLike, tolerance_degrees: float = 0.1) -> bool:
    """Whether some voxel axis is more than the tolerance away from the nearest patient axis.

    >>> turned = np.array([[1, -0.1, 0, 0], [0.1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> is_oblique(np.diag([-0.8, -0.8, 2.5, 1])), is_oblique(turned)
    (False, True)
    """
    axes = np.sort(np.abs(direction(affine)), axis=0)
    # The angle by its tangent: an arc cosine loses half of the digits near zero.
    angles = np.arctan2(np.hypot(axes[0], axes[1]), axes[2])
    return bool(np.degrees(angles).max() > tolerance_degrees)


def why_unusable(affine: ArrayLike) -> str | None:
    """What keeps an affine from placing voxels in space, in words, or None when it is sound.

    Args:
        affine: (4, 4); sound is: finite, last row 0 0 0 1, every edge longer than 1e-6 mm, axes not
            in one plane.

    >>> why_unusable(np.diag([1, 1, 0, 1]))
    'the affine is singular: a voxel edge has no length'
    >>> why_unusable(np.eye(4)) is None
    True
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


def in_words(affine: ArrayLike) -> str:
    """The first three rows of an affine in one line, for messages.

    >>> in_words(np.diag([2, 2, 5, 1]))
    '2 0 0 0; 0 2 0 0; 0 0 5 0'
    """
    rows = np.asarray(affine, dtype=np.float64)[:3].tolist()
    return "; ".join(" ".join(f"{number:.6g}" for number in np.atleast_1d(row)) for row in rows)
