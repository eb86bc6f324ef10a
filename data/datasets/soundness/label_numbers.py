"""What is measured of each label of a case: size, place, what the image shows there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .body import Body

FLIPS: tuple[tuple[int, int, int], ...] = tuple(product((0, 1), (0, 1), (0, 1)))
"""Along which of the axes x, y, z a label map is mirrored; none first."""

_MOST = 8_000  # voxels of a label that are looked at
_MOST_IN_ALL = 4_000_000


@dataclass(frozen=True)
class LabelNumbers:
    """Of one label of a case.

    Args:
        voxels: how many.
        ml: its volume.
        place: (3,) mm RAS, its centre from the image's centre; None where the label map does not
            lie on the image, and so for the others.
        intensity: per flip of FLIPS: the mean of the image where the label would lie.
        outside: share outside the body, 0..1; CT only.
        blank: share where the image has its lowest value, 0..1.
    """

    voxels: int
    ml: float
    place: tuple[float, float, float] | None = None
    intensity: tuple[float, ...] = ()
    outside: float = 0.0
    blank: float = 0.0


@dataclass(frozen=True)
class Edges:
    """How well the label map's borders lie on the image's edges.

    Args:
        along: per flip of FLIPS, the mean change of intensity per voxel where borders would lie.
        around: the same some voxels away from the borders.
    """

    along: tuple[float, ...]
    around: float


def measure_labels(
    image: NDArray[Any],
    labels: NDArray[Any],
    counts: dict[int, int],
    voxel_mm: NDArray[np.float64],
    body: Body | None,
) -> tuple[dict[int, LabelNumbers], Edges | None]:
    """Measure each label on its image.

    Args:
        image, labels: (X, Y, Z) on one grid, their axes towards RAS.
        counts: voxels per value, the background not among them.
        voxel_mm: (3,) edge lengths.
        body: of a CT.

    Returns:
        value -> numbers; and the edges, None where nothing is labelled.
    """
    if not counts:
        return {}, None
    middle = (np.array(labels.shape) - 1) / 2
    ml = float(np.prod(voxel_mm)) / 1000
    lowest = image.min()
    found: dict[int, LabelNumbers] = {}
    border: list[NDArray[np.int64]] = []
    for value, at in _where(labels, counts).items():
        place = (at.mean(axis=0) - middle) * voxel_mm
        here = image[tuple(at.T)]
        found[value] = LabelNumbers(
            counts[value],
            counts[value] * ml,
            (float(place[0]), float(place[1]), float(place[2])),
            tuple(float(_looked_up(image, at, flip).mean()) for flip in FLIPS),
            float(body.outside(at).mean()) if body is not None else 0.0,
            float(np.mean(here == lowest)),
        )
        border.append(_border(labels, at, value))
    return found, _edges(image, np.concatenate(border))


def _where(labels: NDArray[Any], counts: dict[int, int]) -> dict[int, NDArray[np.int64]]:
    """(N, 3) indices of each label's voxels, thinned evenly."""
    # in the order of the memory: across it, a large label map takes seconds
    backwards = np.array(labels.strides) < 0
    forwards = labels[tuple(slice(None, None, -1 if back else 1) for back in backwards)]
    order: Literal["F", "C"] = "F" if forwards.flags.f_contiguous else "C"
    flat = forwards.ravel(order)
    at = np.flatnonzero(flat)
    step = -(-at.size // _MOST_IN_ALL)
    if step > 1 and min(counts.values()) > 50 * step:
        at = at[::step]
    values = flat[at]
    ordered = at[np.argsort(values, kind="stable")]
    names, begins = np.unique(np.sort(values), return_index=True)
    ends = [*begins[1:], len(ordered)]
    found = {}
    for value, begin, end in zip(names.tolist(), begins, ends, strict=True):
        if value not in counts:
            continue
        part = ordered[begin:end]
        if len(part) > _MOST:
            part = part[np.linspace(0, len(part) - 1, _MOST).astype(np.int64)]
        where = np.stack(np.unravel_index(part, labels.shape, order), axis=1)
        found[int(value)] = np.where(backwards, np.array(labels.shape) - 1 - where, where)
    return found


def _looked_up(
    image: NDArray[Any], at: NDArray[np.int64], flip: tuple[int, int, int]
) -> NDArray[np.float64]:
    return np.asarray(image[tuple(_flipped(at, flip, image.shape).T)], dtype=np.float64)


def _flipped(
    at: NDArray[np.int64], flip: tuple[int, int, int], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    return np.where(np.array(flip, dtype=bool), np.array(shape) - 1 - at, at)


def _border(labels: NDArray[Any], at: NDArray[np.int64], value: int) -> NDArray[np.int64]:
    """Those of a label's voxels that have a neighbour of another value."""
    other = np.zeros(len(at), dtype=bool)
    for axis, step in product(range(3), (-1, 1)):
        beside = at.copy()
        beside[:, axis] = np.clip(beside[:, axis] + step, 0, labels.shape[axis] - 1)
        other |= labels[tuple(beside.T)] != value
    return at[other]


def _edges(image: NDArray[Any], border: NDArray[np.int64]) -> Edges | None:
    if not len(border) or min(image.shape) < 5:
        return None
    away = np.array([3, 3, 3])
    around = [
        _change(image, np.clip(border + away * sign, 0, np.array(image.shape) - 1))
        for sign in product((-1, 1), repeat=3)
    ]
    along = [_change(image, _flipped(border, flip, image.shape)) for flip in FLIPS]
    return Edges(tuple(along), float(np.mean(around)))


def _change(image: NDArray[Any], at: NDArray[np.int64]) -> float:
    """The mean of the largest step to a neighbour per voxel, half the distance of two."""
    steps = []
    for axis in range(3):
        before, after = at.copy(), at.copy()
        before[:, axis] = np.maximum(at[:, axis] - 1, 0)
        after[:, axis] = np.minimum(at[:, axis] + 1, image.shape[axis] - 1)
        steps.append(
            np.abs(
                image[tuple(after.T)].astype(np.float64) - image[tuple(before.T)].astype(np.float64)
            )
        )
    return float(np.sqrt(np.mean(np.square(steps), axis=0)).mean())
