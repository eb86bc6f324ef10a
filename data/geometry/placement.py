"""Whether a label map lies where its image is, and what probably went wrong when it does not."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .affines import direction, spacing
from .grids import Grid, same_grid, voxel_map

# Of the shorter of the two volumes along each axis, this share must lie inside the other.
_LEAST_OVERLAP = 0.5
# Voxel sizes within this ratio are one size: rounding in headers, not resampling.
_SAME_SPACING = 1.01


Cause = Literal[
    "no-geometry",
    "image-no-geometry",
    "mirrored",
    "transposed",
    "spacing",
    "shifted",
    "turned",
    "elsewhere",
]
"""What probably went wrong; "elsewhere" is the label map of another scan."""


@dataclass(frozen=True)
class Misplacement:
    """How a label map lies elsewhere than its image.

    Args:
        cause: what probably went wrong.
        apart_mm: between the centres of the two volumes.
        corners_mm: between corners of one place, at most; None where the shapes differ.
        overlap: 0..1, what the two volumes share of the shorter one, per axis, multiplied.
        text: all of it in words, and what to do.
    """

    cause: Cause
    apart_mm: float
    corners_mm: float | None
    overlap: float
    text: str


def why_elsewhere(image: Grid, label: Grid) -> str | None:
    """Why a label map cannot be that of an image, by their grids alone.

    A label map may be cropped to its labels, reach beyond the image, and have another orientation
    or other voxels. Where both have one shape, they must lie on each other within half a voxel.

    Args:
        image: grid of the image.
        label: grid of the label map.

    Returns:
        The distance in mm and a likely cause, in words; None when the label map lies on the image.

    Example:
        >>> image = Grid((40, 40, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
        >>> moved = image.affine.copy()
        >>> moved[:3, 3] = (0, 30, 40)
        >>> why_elsewhere(image, Grid(image.shape, moved)).split(",")[0]
        'their centres are 50.0 mm apart'
    """
    found = misplacement(image, label)
    return None if found is None else found.text


def misplacement(image: Grid, label: Grid) -> Misplacement | None:
    """How a label map lies elsewhere than its image; see `why_elsewhere`."""
    if _fits(image, label):
        return None
    apart = float(np.linalg.norm(centre_mm(image) - centre_mm(label)))
    share = float(np.clip(_overlaps(image, label), 0, 1).prod())
    shifts = corner_shifts(image, label)
    corners_mm, corners = None, ""
    if shifts is not None:
        corners_mm = float(np.linalg.norm(shifts @ image.affine[:3, :3].T, axis=1).max())
        corners = f", their corners up to {corners_mm:.1f} mm"
    common = "they have nothing in common" if share == 0 else f"they overlap by {share:.0%}"
    cause, what = _likely_cause(image, label)
    text = (
        f"their centres are {apart:.1f} mm apart{corners}; {common} (shapes {image.shape} and "
        f"{label.shape}, voxels {_mm(image)} and {_mm(label)}); likely cause: {what}"
    )
    return Misplacement(cause, apart, corners_mm, share, text)


def corner_shifts(image: Grid, label: Grid) -> NDArray[np.float64] | None:
    """(8, 3) voxels of the image: from its corners to the label's corners of their places.

    None where the two have other shapes, the order and sense of their axes aside.
    """
    if _turned_shape(image, label) != image.shape:
        return None
    return _corner_shifts(image, label)


def centre_mm(grid: Grid) -> NDArray[np.float64]:
    """(3,) RAS+ mm: the middle of a volume."""
    middle: NDArray[np.float64] = grid.corners().mean(axis=0)
    return middle


def _fits(image: Grid, label: Grid) -> bool:
    if same_grid(image, label):
        return True
    turned = _turned_shape(image, label)
    if turned is not None and turned == image.shape:
        return bool(np.abs(_corner_shifts(image, label)).max() <= 0.5)
    if turned is not None and _transposed(image, label, turned):
        return False
    if _without_geometry(label) and not (_begins_at_zero(image) or _on_lattice(image, label)):
        return False
    return bool(_overlaps(image, label).min() >= _LEAST_OVERLAP)


def _likely_cause(image: Grid, label: Grid) -> tuple[Cause, str]:
    copy = "copy the image's affine into the label file if its voxels are the image's"
    if _without_geometry(label):
        return "no-geometry", (
            "the label map was saved without the image's geometry (its affine is the identity); "
            f"{copy}"
        )
    if _without_geometry(image):
        return "image-no-geometry", (
            "the image was saved without its geometry (its affine is the identity); copy the label "
            "map's affine into it if its voxels are the label map's"
        )
    axes = "" if _same_directions(image, label) else _mirrored(image, label)
    if axes:
        return "mirrored", (
            f"mirrored coordinates (along {axes}), as when LPS is written where RAS is meant; "
            f"{copy}"
        )
    turned = _turned_shape(image, label)
    if turned is not None and _transposed(image, label, turned):
        return "transposed", (
            "transposed axes (an array in z, y, x order saved as x, y, z); transpose it back and "
            "copy the image's affine"
        )
    if turned == image.shape and not _same_spacing(image, label):
        return "spacing", f"the same shape, but other voxel sizes; {copy}"
    if turned == image.shape and _turned_by_degrees(image, label) < 0.5:
        return "shifted", f"the same shape, but another origin; {copy}"
    if turned == image.shape:
        degrees = _turned_by_degrees(image, label)
        return "turned", f"the same shape, but turned by {degrees:.1f} degrees; {copy}"
    return (
        "elsewhere",
        "the label map of another scan, or of another series of this patient; pair them anew",
    )


def _along(image: Grid, label: Grid) -> list[int] | None:
    """For each axis of the image the label's axis that runs along it; None when unclear."""
    cosines = np.abs(np.linalg.solve(direction(image.affine), direction(label.affine)))
    found = [int(axis) for axis in cosines.argmax(axis=1)]
    return found if sorted(found) == [0, 1, 2] else None


def _turned_shape(image: Grid, label: Grid) -> tuple[int, ...] | None:
    """The label's shape in the order of the image's axes."""
    along = _along(image, label)
    return None if along is None else tuple(label.shape[axis] for axis in along)


def _corner_shifts(image: Grid, label: Grid) -> NDArray[np.float64]:
    """(8, 3) voxels of the image: from its corners to the label's corners of their places.

    Both have one shape, and each axis of the one runs along one of the other.
    """
    along = _along(image, label)
    assert along is not None
    matrix = voxel_map(image, label)
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(label.shape) - 1)
    at = corners @ matrix[:3, :3].T + matrix[:3, 3]
    wanted = np.empty_like(at)
    for axis, other in enumerate(along):
        forwards = corners[:, other]
        backwards = image.shape[axis] - 1 - forwards
        wanted[:, axis] = forwards if matrix[axis, other] > 0 else backwards
    return np.asarray(at - wanted)


def _overlaps(image: Grid, label: Grid) -> NDArray[np.float64]:
    """(3,) per axis of the image: what the volumes share, of the shorter one; below 0 a gap."""
    corners = np.array(list(product((-0.5, 0.5), repeat=3))) * label.shape
    corners += (np.array(label.shape) - 1) / 2
    matrix = voxel_map(image, label)
    at = corners @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = at.min(axis=0), at.max(axis=0)
    size = np.array(image.shape, dtype=np.float64)
    common = np.minimum(high, size - 0.5) - np.maximum(low, -0.5)
    return np.asarray(common / np.minimum(high - low, size))


def _transposed(image: Grid, label: Grid, turned: tuple[int, ...]) -> bool:
    return (
        turned != image.shape
        and sorted(turned) == sorted(image.shape)
        and _same_spacing(image, label)
    )


def _same_spacing(image: Grid, label: Grid) -> bool:
    along = _along(image, label)
    if along is None:
        return False
    ratio = spacing(label.affine)[along] / spacing(image.affine)
    return bool(np.maximum(ratio, 1 / ratio).max() <= _SAME_SPACING)


def _without_geometry(grid: Grid) -> bool:
    """Whether an affine says nothing: unit voxels along the patient's axes from 0, 0, 0 on.

    An identity in LPS, as ITK saves it, is diag(-1, -1, 1) in RAS.
    """
    return any(
        np.allclose(grid.affine, np.diag([x, y, 1.0, 1.0]), atol=1e-6)
        for x, y in ((1.0, 1.0), (-1.0, -1.0))
    )


def _begins_at_zero(grid: Grid) -> bool:
    return bool(np.linalg.norm(grid.affine[:3, 3]) <= grid.spacing.max())


def _same_directions(image: Grid, label: Grid) -> bool:
    """Whether the voxel axes have one order and one sense; within half a degree or so."""
    return bool(np.abs(direction(image.affine) - direction(label.affine)).max() < 0.01)


def _on_lattice(image: Grid, label: Grid) -> bool:
    """Whether the label's voxel centres are on the image's lattice, continued beyond its array."""
    matrix = voxel_map(image, label)
    return bool(np.abs(matrix - np.rint(matrix)).max() < 1e-3) and _same_spacing(image, label)


def _mirrored(image: Grid, label: Grid) -> str:
    """The patient's axes along which a mirrored label would lie on the image; "" for none."""
    for signs in ((-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)):
        flipped = Grid(label.shape, np.diag([*signs, 1.0]) @ label.affine)
        if _fits(image, flipped):
            return " and ".join(name for name, sign in zip("xyz", signs, strict=True) if sign < 0)
    return ""


def _turned_by_degrees(image: Grid, label: Grid) -> float:
    """The largest angle between an axis of the image and the label's axis along it."""
    cosines = np.abs(direction(image.affine).T @ direction(label.affine)).max(axis=1)
    return float(np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))))


def _mm(grid: Grid) -> str:
    return " x ".join(f"{size:.4g}" for size in grid.spacing) + " mm"
