"""HD95 and average surface distance: distances between the surfaces of two masks, in mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from ....data.errors import ImageError
from ....data.geometry.boxes import bounding_box
from .on_gpu import distances_on_gpu, gpu_of_distances

# Larger leaves than scipy's 10: each tree is built for one batch of queries only.
_LEAF_SIZE = 32
# Of voxels that lie just at the tolerance, which an affine's rounding would take out or in.
_ROUNDING_MM = 1e-6


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """For every surface voxel of one mask, how far the other mask's surface is.

    Millimetres, float64, in any order. Both arrays are empty when either mask is, and every measure
    is NaN then: there is nothing to measure to.
    """

    prediction_to_reference: np.ndarray
    reference_to_prediction: np.ndarray

    def hd95(self) -> float:
        """HD95 in mm: `hausdorff` with the 95th percentile."""
        return self.hausdorff(percentile=95.0)

    def hausdorff(self, *, percentile: float = 100.0) -> float:
        """Hausdorff distance in mm: the larger of the two directed percentiles, 0 to 100.

        Percentiles interpolate linearly. MONAI's `compute_hausdorff_distance(percentile=95)` gives
        this number; medpy 0.5.2's `hd95` takes one percentile of the two directions pooled, another
        number.
        """
        if not self.prediction_to_reference.size:
            return float("nan")
        directed = (self.prediction_to_reference, self.reference_to_prediction)
        return float(max(np.percentile(distances, percentile) for distances in directed))

    def within(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: the share of both surfaces' voxels that are so near the other.

        Range 0..1. MONAI's `compute_surface_dice` gives this number, each surface voxel counted as
        one; DeepMind's surface-distance and MONAI with `use_subvoxels` weigh pieces of surface by
        their area, another number. Paper: Nikolov et al. 2018 (arXiv 1809.04430).

        Args:
            tolerance_mm: 0 or more.
        """
        if not self.prediction_to_reference.size:
            return float("nan")
        both = (self.prediction_to_reference, self.reference_to_prediction)
        most = tolerance_mm + _ROUNDING_MM
        near = sum(int(np.count_nonzero(distances <= most)) for distances in both)
        return near / sum(distances.size for distances in both)

    def average(self) -> float:
        """Average symmetric surface distance in mm: the mean of both directions' distances, pooled.

        A larger surface counts more. MONAI's `compute_average_surface_distance(symmetric=True)`
        gives this number, and so does medpy 0.5.2's `assd`; the mean of the two directed means is
        another number.
        """
        if not self.prediction_to_reference.size:
            return float("nan")
        total = self.prediction_to_reference.sum() + self.reference_to_prediction.sum()
        return float(
            total / (self.prediction_to_reference.size + self.reference_to_prediction.size)
        )


def surface(mask: np.ndarray) -> np.ndarray:
    """The surface voxels of a mask: the mask minus its erosion by the 6-neighbourhood.

    bool array (X, Y, Z) -> bool array of the same shape: mask voxels with at least one of the six
    face neighbours outside the mask. What lies beyond the array counts as outside, so that an organ
    cut by the scan's border has a surface there. Equals `mask &
    ~scipy.ndimage.binary_erosion(mask)`, in a quarter of the time.
    """
    interior = mask.copy()
    if not mask.size:
        return interior
    for axis in range(mask.ndim):
        inner, outer = np.moveaxis(interior, axis, 0), np.moveaxis(mask, axis, 0)
        inner[1:] &= outer[:-1]
        inner[:-1] &= outer[1:]
        inner[0] = False
        inner[-1] = False
    return mask & ~interior


def surface_distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    spacing_mm: Sequence[float] | None = None,
    affine: np.ndarray | None = None,
) -> SurfaceDistances:
    """Exact distances in mm between the surfaces of two masks, voxel centre to voxel centre.

    Args:
        prediction, reference: bool masks (X, Y, Z) on one grid.
        spacing_mm: size of a voxel along the three axes, mm; or
        affine: (4, 4), or its (3, 3) part, voxel indices to mm. Distances are between physical
            points, so that an oblique grid gives what its spacing would give, and a sheared one
            (tilted gantry) is exact too.

    MONAI gives the same numbers (in float32, and by spacing only), slower: it pads and copies the
    whole volume once per measure. The nearest voxel comes from a k-d tree, as in MONAI on a CPU;
    scipy's distance transform, which visits every voxel of the box, is faster only for concentric
    shapes that are far apart. On a GPU with cuCIM it is MONAI's distance transform, see
    gpu_of_distances.

    Raises:
        ImageError: the masks' shapes differ.
        ValueError: neither or both of spacing_mm and affine are given, or they are not of three
            axes.
    """
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ImageError(
            f"the prediction's shape {prediction.shape} and the reference's {reference.shape} must "
            "be the same, (X, Y, Z); resample the prediction onto the reference's grid first"
        )
    axes_mm = voxel_axes(spacing_mm=spacing_mm, affine=affine)
    prediction, reference = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    box = bounding_box(prediction, reference)
    # Cropping to both masks' box changes no surface: every voxel beyond it is outside of both.
    prediction_surface, reference_surface = surface(prediction[box]), surface(reference[box])
    if not prediction_surface.any() or not reference_surface.any():
        return SurfaceDistances(np.empty(0), np.empty(0))
    gpu = gpu_of_distances(axes_mm)
    if gpu is not None:
        found = distances_on_gpu(prediction_surface, reference_surface, axes_mm, gpu)
        if found is not None:
            return SurfaceDistances(*found)
    prediction_points = np.argwhere(prediction_surface) @ axes_mm.T
    reference_points = np.argwhere(reference_surface) @ axes_mm.T
    return SurfaceDistances(
        _nearest(prediction_points, reference_points), _nearest(reference_points, prediction_points)
    )


def voxel_axes(
    *, spacing_mm: Sequence[float] | None = None, affine: np.ndarray | None = None
) -> np.ndarray:
    """The (3, 3) float64 matrix whose columns are the steps in mm along each voxel axis.

    Give exactly one: spacing_mm, three positive numbers, or affine, (4, 4) or (3, 3), not singular.

    Raises:
        ValueError: anything else.
    """
    if (spacing_mm is None) == (affine is None):
        raise ValueError("give either spacing_mm or affine, and not both")
    if affine is not None:
        matrix = np.asarray(affine, dtype=np.float64)
        if matrix.shape not in ((4, 4), (3, 3)):
            raise ValueError(f"an affine is (4, 4) or (3, 3), not {matrix.shape}")
        matrix = matrix[:3, :3]
    else:
        steps = np.asarray(spacing_mm, dtype=np.float64)
        if steps.shape != (3,) or not (steps > 0).all():
            raise ValueError(f"spacing_mm is three positive numbers, not {spacing_mm!r}")
        matrix = np.diag(steps)
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise ValueError(f"the voxel axes are not finite or span no volume: {matrix.tolist()}")
    return matrix


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point (N, 3) to the nearest of the others (M, 3); both in mm."""
    distances, _ = KDTree(others, leafsize=_LEAF_SIZE).query(points)
    return np.asarray(distances, dtype=np.float64)
