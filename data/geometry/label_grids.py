"""Label maps from one grid to another by nearest neighbour, and the grid that two of them share."""

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .affines import Affine
from .boxes import Box, bounding_box
from .grids import Grid, voxel_map

Labels = NDArray[np.generic]

# What is this near to half way between two voxels belongs to the upper one, in voxels: headers
# hold affines as float32, and half-way coordinates must not fall this way here, that way there.
_HALF_WAY = 0.5e-3
# An axis is parallel to another when no voxel moves by more than this, in voxels.
_PARALLEL = 0.5e-3
_MOST_VOXELS = 2**30


def nearest_labels(labels: Labels, source: Grid, target: Grid) -> Labels:
    """A label map of one grid on another, by nearest neighbour.

    Args:
        labels: (X, Y, Z) of `source.shape`, any dtype.
        source: grid of the labels.
        target: grid of the result; any orientation, oblique or sheared.

    Returns:
        Array of `target.shape` and the labels' dtype; 0 where the source has no voxel. A view where
        no voxel has to be moved.
    """
    matrix = voxel_map(source, target)
    along = [int(axis) for axis in np.abs(matrix[:3, :3]).argmax(axis=1)]
    rest = matrix[:3, :3].copy()
    rest[range(3), along] = 0
    if sorted(along) == [0, 1, 2] and (np.abs(rest) @ target.shape).max() < _PARALLEL:
        return _parallel(labels, matrix, along, target.shape)
    return _general(labels, matrix, target.shape)


def on_shared_grid(
    prediction: Labels, prediction_grid: Grid, reference: Labels, reference_grid: Grid
) -> tuple[Labels, Labels, Affine]:
    """Two label maps on one grid that holds every voxel of both that is not 0.

    The grid is the reference's lattice, continued beyond its array as far as the prediction goes,
    and no larger than the box around both maps' voxels. The prediction comes onto it by nearest
    neighbour, which is exact for flipped, permuted, cropped and padded grids. How far either file
    reaches beyond its own labels does not matter.

    Args:
        prediction: (X, Y, Z) of `prediction_grid.shape`.
        prediction_grid: its grid.
        reference: (X, Y, Z) of `reference_grid.shape`.
        reference_grid: its grid; a voxel's size is taken from here.

    Returns:
        (prediction, reference, affine): two arrays of one shape, and the affine (4, 4), voxel
        index to RAS+ mm, of their grid.

    Raises:
        ImageError: the box around both has more than 2**30 voxels of the reference's size.
    """
    filled = bounding_box(reference)
    reached = _box_in(reference_grid, bounding_box(prediction), prediction_grid)
    box = _around(filled, reached)
    shape = tuple(part.stop - part.start for part in box)
    if np.prod(shape, dtype=np.float64) > _MOST_VOXELS:
        raise ImageError(
            f"the prediction and the label map together span {shape} voxels of "
            f"{np.round(reference_grid.spacing, 3).tolist()} mm, too many to compare; resample the "
            "label map to the scan's grid"
        )
    affine = reference_grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    moved = nearest_labels(prediction, prediction_grid, grid)
    return moved, cut_padded(reference, box), affine


def cut_padded(array: Labels, box: Box) -> Labels:
    """The part of an array inside a box that may reach beyond it; 0 there.

    Args:
        array: (X, Y, Z).
        box: a slice per axis; its start may be negative, its stop beyond the array.

    Returns:
        Array of the box's shape; a view where the box lies inside.
    """
    inside = tuple(
        slice(min(max(part.start, 0), size), max(min(part.stop, size), 0))
        for part, size in zip(box, array.shape, strict=True)
    )
    if all(a.start == b.start and a.stop == b.stop for a, b in zip(inside, box, strict=True)):
        return array[box]
    result = np.zeros([part.stop - part.start for part in box], dtype=array.dtype)
    if all(part.start < part.stop for part in inside):
        place = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(inside, box, strict=True)
        )
        result[place] = array[inside]
    return result


def _box_in(lattice: Grid, box: Box, grid: Grid) -> Box:
    """The box of a lattice's voxels whose centres can lie in a box of voxels of another grid."""
    if any(part.start == part.stop for part in box):
        return tuple(slice(0, 0) for _ in box)
    edges = np.array([(part.start - 0.5, part.stop - 0.5) for part in box])
    corners = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = voxel_map(lattice, grid)
    found = corners @ matrix[:3, :3].T + matrix[:3, 3]
    lowest = np.ceil(found.min(axis=0) - _HALF_WAY)
    highest = np.floor(found.max(axis=0) + _HALF_WAY)
    return tuple(
        slice(int(low), max(int(high), int(low)) + 1)
        for low, high in zip(lowest, highest, strict=True)
    )


def _around(first: Box, second: Box) -> Box:
    """The box around two boxes, of which one or both may be empty; one voxel when both are."""
    full = [box for box in (first, second) if all(part.start < part.stop for part in box)]
    if not full:
        return (slice(0, 1),) * 3
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*full, strict=True)
    )


def _nearest(at: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nearest voxel of each coordinate; half way, the upper one."""
    return np.floor(at + (0.5 + _HALF_WAY)).astype(np.int64)


def _parallel(
    labels: Labels, matrix: Affine, along: list[int], shape: tuple[int, int, int]
) -> Labels:
    """`nearest_labels` for axes that run along each other: one list of indices per axis."""
    rows, places = [], [slice(0, 0)] * 3
    for axis, other in enumerate(along):
        at = _nearest(matrix[axis, other] * np.arange(shape[other]) + matrix[axis, 3])
        inside = np.flatnonzero((at >= 0) & (at < labels.shape[axis]))
        if not inside.size:
            return np.zeros(shape, dtype=labels.dtype)
        rows.append(at[inside])
        # one range, as the coordinates go one way
        places[other] = slice(int(inside[0]), int(inside[-1]) + 1)
    found = _picked(labels, rows).transpose([along.index(other) for other in range(3)])
    if found.shape == shape:
        return found
    # in the order of the source's memory, which is much faster than across it
    result = np.zeros(
        shape, dtype=labels.dtype, order="F" if found.strides[0] == found.itemsize else "C"
    )
    result[tuple(places)] = found
    return result


def _picked(labels: Labels, rows: list[NDArray[np.int64]]) -> Labels:
    """The voxels of one list of indices per axis; a view where each list has no gaps."""
    for axis, indices in enumerate(rows):
        step = int(indices[1] - indices[0]) if len(indices) > 1 else 1
        if abs(step) == 1 and (np.diff(indices) == step).all():
            last = int(indices[-1]) + step
            cut = slice(int(indices[0]), last if last >= 0 else None, step)
            labels = labels[(slice(None),) * axis + (cut,)]
        else:
            labels = labels.take(indices, axis=axis)
    return labels


def _general(labels: Labels, matrix: Affine, shape: tuple[int, int, int]) -> Labels:
    """`nearest_labels` for any axes, one plane of the result at a time."""
    result = np.zeros(shape, dtype=labels.dtype)
    j, k = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    plane = (
        matrix[:3, 1, None, None] * j + matrix[:3, 2, None, None] * k + matrix[:3, 3, None, None]
    )
    sizes = np.array(labels.shape)[:, None, None]
    for i in range(shape[0]):
        at = _nearest(plane + (matrix[:3, 0] * i)[:, None, None])
        inside = ((at >= 0) & (at < sizes)).all(axis=0)
        result[i][inside] = labels[tuple(at[:, inside])]
    return result
