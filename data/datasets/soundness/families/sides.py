"""Mirrored label maps and cases, and labels that were exchanged, such as left and right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ....label_tables.sides import sides_of
from ..findings import DATASET, Finding
from ..label_numbers import FLIPS
from ..listing import Listing
from ..measures import CaseNumbers
from ..population import ODD_PLACE, Places, Population, brightness, places_of

_ODD, _USUAL = 4.0, 2.5  # of Population.oddness
_AS_GOOD = 1.3
_MUCH_BETTER = 1.5
_BETTER = 1.03  # a mirrored label map fits the image's edges so much better
_MOST_SWAPS = 12  # labels among which exchanged ones are looked for
_APART_MM = 5.0


@dataclass(frozen=True)
class _Guess:
    """What could have happened: two labels exchanged, or axes mirrored."""

    swap: tuple[tuple[int, int], ...] = ()
    flip: int = 0


def find(cases: Sequence[CaseNumbers], population: Population, listing: Listing) -> list[Finding]:
    """Findings about cases whose labels lie the other way round than they should."""
    pairs = sides_of(listing.labels)
    wrong = {case.id: _wrong_pairs(case, pairs) for case in cases}
    have = [case for case in cases if _has_pair(case, pairs)]
    all_wrong = [case.id for case in have if wrong[case.id]]
    found = []
    if len(have) >= 3 and 2 * len(all_wrong) > len(have):
        found.append(_names_exchanged(listing, all_wrong, len(have), pairs))
        wrong = {}
    for case in cases:
        one = _of_case(case, population, listing, wrong.get(case.id, ()))
        if one is None and not population.vectors and not population.places:
            one = _fits_mirrored(case)
        if one is not None:
            found.append(one)
    return found


def _has_pair(case: CaseNumbers, pairs: Sequence[tuple[int, int]]) -> bool:
    places = places_of(case)
    return any(right in places and left in places for right, left in pairs)


def _wrong_pairs(
    case: CaseNumbers, pairs: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Pairs whose right one lies left of the left one: x grows to the patient's right."""
    places = places_of(case)
    return tuple(
        (right, left)
        for right, left in pairs
        if right in places and left in places and places[right][0] - places[left][0] < -_APART_MM
    )


def _of_case(
    case: CaseNumbers,
    population: Population,
    listing: Listing,
    pairs: tuple[tuple[int, int], ...],
) -> Finding | None:
    places = places_of(case)
    odd = population.oddness(places, telling=True)
    each = [one.max() for one in population.oddness_of_each(places).values()]
    if not pairs and odd.max() < _ODD and max(each, default=0.0) < ODD_PLACE:
        return None
    axes = (odd >= _USUAL) | (population.oddness(places, telling=False) >= _USUAL)
    axes[0] |= bool(pairs)
    guesses = _likely(_guesses(places, pairs, axes), places, population)
    if not guesses:
        if not pairs:
            return None
        guesses = [_Guess(swap=pairs)]
    swap = next((guess for guess in guesses if guess.swap), None)
    flip = next((guess for guess in guesses if guess.flip), None)
    if flip is not None and (swap is None or _edges_prefer(case, flip.flip)):
        return _mirrored(case, population, flip.flip)
    return _swapped(case, listing, (swap or guesses[0]).swap, pairs)


def _guesses(
    places: Places, pairs: tuple[tuple[int, int], ...], axes: NDArray[np.bool_]
) -> list[_Guess]:
    values = sorted(places)
    single = combinations(values, 2) if len(values) <= _MOST_SWAPS else iter(())
    swaps = ([pairs] if pairs else []) + [(pair,) for pair in single if (pair,) != pairs]
    flips = [
        number
        for number in sorted(range(1, len(FLIPS)), key=lambda number: sum(FLIPS[number]))
        if not (np.array(FLIPS[number], dtype=bool) & ~axes).any()
    ]
    return [_Guess(swap=swap) for swap in swaps] + [_Guess(flip=flip) for flip in flips]


def _likely(guesses: Sequence[_Guess], places: Places, population: Population) -> list[_Guess]:
    """The guesses that bring the labels to where they usually are, nearly as well as the best."""
    if not population.vectors and not population.places:
        sided = (guess for guess in guesses if guess.flip and FLIPS[guess.flip] == (1, 0, 0))
        return [*(guess for guess in guesses if guess.swap), *sided]
    before = population.oddness(places, telling=False)
    odd = [population.oddness(_as_guessed(places, guess), telling=False) for guess in guesses]
    total = [float(one.sum()) for one in odd]
    return [
        guess
        for guess, one, sum_ in zip(guesses, odd, total, strict=True)
        if _better(guess, one, before) and sum_ < _AS_GOOD * min(total)
    ]


def _better(guess: _Guess, odd: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    """Whether the labels are where they usually are along the axes that a guess changes."""
    axes = np.array(FLIPS[guess.flip], dtype=bool) if guess.flip else np.ones(3, dtype=bool)
    return bool(odd[axes].max() < _USUAL and odd[axes].max() < 0.5 * before[axes].max())


def _as_guessed(places: Places, guess: _Guess) -> Places:
    other = {value: value for value in places}
    for first, second in guess.swap:
        other[first], other[second] = second, first
    signs = 1 - 2 * np.array(FLIPS[guess.flip])
    return {other[value]: place * signs for value, place in places.items()}


def _edges_prefer(case: CaseNumbers, flip: int) -> bool:
    edges = case.edges
    return edges is not None and edges.along[flip] > _BETTER * edges.along[0]


def _swapped(
    case: CaseNumbers,
    listing: Listing,
    swap: tuple[tuple[int, int], ...],
    pairs: tuple[tuple[int, int], ...],
) -> Finding:
    names = {value: name for name, value in listing.labels.items()}
    told = "; ".join(f"{names.get(a, a)} and {names.get(b, b)}" for a, b in swap)
    sides = set(swap) <= set(pairs) | {(b, a) for a, b in sides_of(listing.labels)} | set(
        sides_of(listing.labels)
    )
    path = case.label.path if case.label is not None else case.id
    numbers = {"swap": [list(pair) for pair in swap]}
    if sides:
        text = (
            f"{path}: left and right are swapped: {told}; their values were probably exchanged (or "
            "the scan is mirrored with them): exchange them back"
        )
        return Finding("sides-swapped", "error", case.id, text, numbers)
    text = (
        f"{path}: the values of {told} were probably exchanged: each lies where the other one does "
        "in the other cases; exchange them back"
    )
    return Finding("labels-swapped", "error", case.id, text, numbers)


def _mirrored(case: CaseNumbers, population: Population, flip: int) -> Finding:
    axes = [name for name, on in zip("xyz", FLIPS[flip], strict=True) if on]
    along = " and ".join(axes)
    path = case.label.path if case.label is not None else case.id
    numbers = {"axes": axes}
    if _only_the_label(case, population, flip):
        text = (
            f"{path}: the label map is mirrored along {along} against its image, though their "
            "headers agree: the voxels were flipped by a program that kept the header; flip them "
            "back"
        )
        return Finding("label-flipped", "error", case.id, text, numbers)
    text = (
        f"{case.images[0].path}: image and label map are both mirrored along {along} against the "
        "other cases: the header's axes point the other way, or the voxels were flipped and the "
        "header kept; mirror the affine"
    )
    return Finding("case-mirrored", "error", case.id, text, numbers)


def _fits_mirrored(case: CaseNumbers) -> Finding | None:
    """By the image alone, where there are too few other cases to learn from."""
    if case.edges is None or case.label is None:
        return None
    flip = int(np.argmax(case.edges.along))
    ratio = case.edges.along[flip] / max(case.edges.along[0], 1e-9)
    if ratio < _MUCH_BETTER:
        return None
    axes = [name for name, on in zip("xyz", FLIPS[flip], strict=True) if on]
    text = (
        f"{case.label.path}: mirrored along {' and '.join(axes)} its borders would lie on edges of "
        f"the image that are {ratio:.1f} times as sharp: it may be flipped; look at it"
    )
    numbers = {"axes": axes, "ratio": ratio}
    return Finding("label-fits-mirrored", "warning", case.id, text, numbers)


def _only_the_label(case: CaseNumbers, population: Population, flip: int) -> bool:
    """Whether the mirrored label map fits the image better than the one as it is."""
    points = 0.0
    if case.edges is not None:
        points += 3 * np.log(case.edges.along[flip] / max(case.edges.along[0], 1e-9))
    odd = [_odd_intensity(case, population, number) for number in (0, flip)]
    points += float(np.clip((odd[0] - odd[1]) / 2, -2, 2))
    return points > 0


def _odd_intensity(case: CaseNumbers, population: Population, flip: int) -> float:
    found = [
        abs(float(usual.deviation(value)))
        for label, usual in population.intensities.items()
        if (value := brightness(case, label, flip)) is not None
    ]
    return float(np.mean(np.minimum(found, 10))) if found else 0.0


def _names_exchanged(
    listing: Listing, wrong: Sequence[str], cases: int, pairs: Sequence[tuple[int, int]]
) -> Finding:
    names = {value: name for name, value in listing.labels.items()}
    told = ", ".join(f"{names[right]} and {names[left]}" for right, left in pairs)
    text = (
        f"{listing.root}/dataset.json: in {len(wrong)} of {cases} cases the right one lies left of "
        f"the left one ({told}): their names are probably exchanged, or every file's x axis points "
        "the other way"
    )
    return Finding("sides-names", "error", DATASET, text, {"cases": list(wrong)[:100]})
