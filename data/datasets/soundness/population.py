"""What is usual in a dataset: where labels lie to each other, how large they are, how bright."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .intensities import is_ct
from .measures import CaseNumbers

LEAST = 6
"""Cases from which on something is usual."""
ODD_PLACE = 6.0
"""Of `Population.oddness_of_each`: from here on a label is elsewhere."""

_MOST_LABELS = 24
_CLIPPED = 10.0
_TOLD = 3.0  # a component tells the sense of an axis when it is so many deviations from 0
_LEAST_MM = 1.0
_FEW = 4.0
_SAME_MODALITY = 0.04
_HU = 500.0

Places = Mapping[int, NDArray[np.float64]]
"""value -> (3,) mm RAS, a label's centre from its image's."""


@dataclass(frozen=True, eq=False)
class Usual:
    """A robust location and spread: median, and 1.4826 times the median deviation from it."""

    middle: NDArray[np.float64]
    spread: NDArray[np.float64]

    def deviation(self, value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """So many spreads from the middle."""
        return np.asarray((value - self.middle) / self.spread)


def usual(values: Sequence[NDArray[np.float64]] | NDArray[np.float64], least: float) -> Usual:
    """What is usual among values, the spread not below `least`.

    >>> usual(np.array([1.0, 2, 3, 4, 100]), 0.1).middle.item()
    3.0
    """
    array = np.asarray(values, dtype=np.float64)
    middle = np.median(array, axis=0)
    spread = 1.4826 * np.median(np.abs(array - middle), axis=0)
    spread *= 1 + _FEW / len(array)  # few cases tell less of how much they differ
    return Usual(middle, np.maximum(spread, least))


@dataclass(frozen=True, eq=False)
class Population:
    """What is usual for the labels of a dataset.

    Args:
        vectors: pair of values -> mm RAS from the second label's centre to the first's.
        places: value -> mm RAS from the image's centre.
        volumes: value -> the logarithm of ml.
        intensities: value -> of `brightness`.
        share: value -> of the cases that have the label annotated, how many have it, 0..1.
    """

    vectors: dict[tuple[int, int], Usual]
    places: dict[int, Usual]
    volumes: dict[int, Usual]
    intensities: dict[int, Usual]
    share: dict[int, float]

    def oddness(self, places: Places, *, telling: bool) -> NDArray[np.float64]:
        """(3,) per axis x, y, z: how far labels are from where they usually are to each other.

        The mean deviation, each cut at 10; 0 where nothing can be told.

        Args:
            places: of a case's labels.
            telling: only distances are looked at that show which way an axis goes.
        """
        rows = []
        for (first, second), vector in self.vectors.items():
            if first in places and second in places:
                found = np.abs(vector.deviation(places[first] - places[second]))
                rows.append(_told(found, vector, telling))
        if not rows:
            for value, place in self.places.items():
                if value in places:
                    found = np.abs(place.deviation(places[value]))
                    rows.append(_told(found, place, telling))
        if not rows:
            return np.zeros(3)
        table = np.array(rows)
        known = ~np.isnan(table)
        return np.asarray(np.where(known, table, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))

    def oddness_of_each(self, places: Places) -> dict[int, NDArray[np.float64]]:
        """Value -> (3,): how far a label is from where it usually is to each of the others.

        One label that is elsewhere stands out here, and hardly in `oddness`.
        """
        rows: dict[int, list[NDArray[np.float64]]] = {}
        for (first, second), vector in self.vectors.items():
            if first in places and second in places:
                found = np.abs(vector.deviation(places[first] - places[second]))
                for value in (first, second):
                    rows.setdefault(value, []).append(np.minimum(found, _CLIPPED))
        return {value: np.mean(found, axis=0) for value, found in rows.items()}


def learn(cases: Sequence[CaseNumbers]) -> Population:
    """What is usual among the cases whose label maps lie on their images."""
    placed = [case for case in cases if any(label.place for label in case.labels.values())]
    values = _most_frequent(placed)
    share = {}
    for value in values:
        having = [value in case.labels for case in placed if value not in case.job.unannotated]
        share[value] = sum(having) / max(len(having), 1)
    where = [places_of(case) for case in placed]
    vectors = {}
    for pair in combinations(values, 2):
        found = [one[pair[0]] - one[pair[1]] for one in where if pair[0] in one and pair[1] in one]
        if len(found) >= LEAST:
            vectors[pair] = usual(found, _LEAST_MM)
    return Population(
        vectors,
        _each(values, where, lambda one, value: one.get(value), _LEAST_MM),
        _each(values, placed, _volume, 0.1),
        _each(values, placed, brightness, _SAME_MODALITY),
        share,
    )


def places_of(case: CaseNumbers) -> dict[int, NDArray[np.float64]]:
    """Where a case's labels lie on its image."""
    return {value: np.array(label.place) for value, label in case.labels.items() if label.place}


def brightness(case: CaseNumbers, value: int, flip: int = 0) -> float | None:
    """The mean of the image in a label: HU / 500 of a CT; of others against their own range.

    Args:
        case: measured.
        value: of the label.
        flip: the label map mirrored as FLIPS[flip] says.
    """
    label = case.labels.get(value)
    if label is None or not label.intensity or not case.images[0].channels:
        return None
    if is_ct(case.job.channels[0]):
        return label.intensity[flip] / _HU
    channel = case.images[0].channels[0]
    span = channel.high - channel.low
    return (label.intensity[flip] - channel.middle) / span if span > 0 else None


def _volume(case: CaseNumbers, value: int) -> float | None:
    label = case.labels.get(value)
    return None if label is None else float(np.log(label.ml))


def _told(found: NDArray[np.float64], vector: Usual, telling: bool) -> NDArray[np.float64]:
    cut = np.minimum(found, _CLIPPED)
    if telling:
        cut = np.where(np.abs(vector.middle) >= _TOLD * vector.spread, cut, np.nan)
    return cut


def _each(
    values: Sequence[int],
    cases: Sequence[object],
    of: Callable[..., NDArray[np.float64] | float | None],
    least: float,
) -> dict[int, Usual]:
    result = {}
    for value in values:
        found = [one for one in (of(case, value) for case in cases) if one is not None]
        if len(found) >= LEAST:
            result[value] = usual(np.array(found), least)
    return result


def _most_frequent(cases: Sequence[CaseNumbers]) -> list[int]:
    count: dict[int, int] = {}
    for case in cases:
        for value, label in case.labels.items():
            if value != case.job.ignore:
                count[value] = count.get(value, 0) + (label.place is not None)
    often = sorted(count, key=lambda value: (-count[value], value))
    return sorted(often[:_MOST_LABELS])
