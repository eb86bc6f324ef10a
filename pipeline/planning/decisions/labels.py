"""What the labels decide: mirroring, plausible masks, pieces, how rare labels are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....data.datasets.fingerprint.numbers import Fingerprint
from ....data.label_tables.sides import has_side, sides_of
from .decision import Decision

_ALWAYS = 0.9  # share of cases in which two labels lie the same way round, so that it tells them
_APART_MM = 3.0
_FEW = 5  # cases from which on an order is believed
_ONE_PIECE = 0.98  # share of the largest piece: what is less than the rest is not a second piece
_MOST_CASES = 0.95
_LOW, _HIGH = 0.7, 1.4  # of the lowest and highest volume
_MANY = 50  # cases from which on the 1st and 99th percentile stand for the lowest and highest
_RARE = 1e-4  # share of a scan's voxels


def decide_mirror_axes(fingerprint: Fingerprint) -> Decision:
    """Axes along which nothing tells labels apart; a single label may be mirrored along all.

    Along x, from left to right, labels of two sides are exchanged (transforms.windows.sides): they
    speak against it only where something else lies always on one side of their middle.
    """
    pairs = sides_of({name: value for value, name in enumerate(fingerprint.labels)})
    paired = {fingerprint.labels[value] for pair in pairs for value in pair}
    alone = [name for name in fingerprint.foreground if name not in paired and has_side(name)]
    told: dict[int, tuple[str, str] | None] = {
        axis: _told_apart(_places(fingerprint, axis)) for axis in (1, 2)
    }
    told[0] = _told_apart(_places_between_sides(fingerprint, pairs))
    axes = [axis for axis in range(3) if not told[axis] and not (axis == 0 and alone)]
    reasons = []
    if alone:
        reasons.append(f"{alone[0]} has a side and no label is its other, so x is never mirrored")
    for axis in range(3):
        found = told[axis]
        if found and not (axis == 0 and alone):
            reasons.append(
                f"along {'xyz'[axis]} {found[0]} and {found[1]} always lie the same way round, "
                "which a mirrored window would deny"
            )
    if 0 in axes and pairs:
        shown = " and ".join(fingerprint.labels[value] for value in pairs[0])
        reasons.append(f"{shown} are exchanged in windows that are mirrored along x")
    if axes:
        reasons.append(f"along {', '.join('xyz'[axis] for axis in axes)} nothing speaks against it")
    return Decision("mirror_axes", axes, "; ".join(reasons))


_Places = dict[str, list[float | None]]  # name -> mm of each case


def _places(fingerprint: Fingerprint, axis: int) -> _Places:
    return {
        name: [
            case.labels[name].centre[axis] if name in case.labels else None
            for case in fingerprint.cases
        ]
        for name in fingerprint.foreground[:20]
    }


def _places_between_sides(fingerprint: Fingerprint, pairs: Sequence[tuple[int, int]]) -> _Places:
    """Along x, with the middle of each pair in the place of its two labels."""
    places = _places(fingerprint, 0)
    for pair in pairs:
        one, other = (fingerprint.labels[value] for value in pair)
        if one in places and other in places:
            both = zip(places.pop(one), places.pop(other), strict=True)
            places[f"the middle of {one} and {other}"] = [
                None if a is None or b is None else (a + b) / 2 for a, b in both
            ]
    return places


def _told_apart(places: _Places) -> tuple[str, str] | None:
    """Two that lie the same way round along an axis in nearly all cases, if there are."""
    for one, other in combinations(places, 2):
        both = zip(places[one], places[other], strict=True)
        apart = np.array([a - b for a, b in both if a is not None and b is not None])
        if len(apart) < _FEW:
            continue
        if max(np.mean(apart > _APART_MM), np.mean(apart < -_APART_MM)) >= _ALWAYS:
            return one, other
    return None


def decide_keep_largest(fingerprint: Fingerprint) -> Decision:
    """Labels that are one piece in nearly every case, by their values."""
    kept = [
        value
        for value, name in enumerate(fingerprint.labels)
        if value
        and (found := [size.largest for size in fingerprint.sizes(name)])
        and np.mean(np.array(found) >= _ONE_PIECE) >= _MOST_CASES
    ]
    names = ", ".join(fingerprint.labels[value] for value in kept)
    if not kept:
        return Decision("keep_largest", False, "no label is one piece in nearly every case")
    value: bool | list[int] = True if len(kept) == len(fingerprint.foreground) else kept
    return Decision(
        "keep_largest",
        value,
        f"{names}: one piece in the label maps, so only the largest piece of a mask is kept. For "
        "the time being: cross-validation decides whether it pays",
    )


def decide_expected(fingerprint: Fingerprint) -> Decision:
    """Plausible volumes and pieces of each label, for the hints in cases.csv."""
    expected: dict[str, Any] = {}
    for name in fingerprint.foreground:
        found = fingerprint.sizes(name)
        if not found:
            continue
        volumes = np.array([size.ml for size in found])
        ends = (1, 99) if len(volumes) >= _MANY else (0, 100)
        low, high = np.percentile(volumes, ends)
        low = 0.0 if len(found) < fingerprint.drawn(name) else _LOW * low
        what: dict[str, Any] = {"ml": [_rounded(low), _rounded(_HIGH * high)]}
        if np.mean([size.largest >= _ONE_PIECE for size in found]) < _MOST_CASES:
            what["pieces"] = 0
        if np.mean([size.at_border for size in found]) > 1 - _MOST_CASES:
            what["cut"] = True
        expected[name] = what
    return Decision(
        "expected",
        expected,
        f"{_LOW} of the lowest to {_HIGH} of the highest volume of the label maps (of the 1st and "
        f"99th percentile from {_MANY} cases on); what is not so is a hint in cases.csv",
    )


def decide_foreground_share(fingerprint: Fingerprint) -> Decision:
    """The share of training windows that are centred on a label."""
    shares = {
        name: float(np.median([size.share for size in found]))
        for name in fingerprint.foreground
        if (found := fingerprint.sizes(name))
    }
    rarest = min(shares, key=lambda name: shares[name])
    share = 0.67 if shares[rarest] < _RARE else 0.5
    seldom = [
        f"{name} ({len(fingerprint.sizes(name))} of {fingerprint.drawn(name)})"
        for name in fingerprint.foreground
        if 2 * len(fingerprint.sizes(name)) < fingerprint.drawn(name)
    ]
    reason = (
        f"windows centred on a label, each label of a case as often as the others; the rarest, "
        f"{rarest}, has {shares[rarest]:.2g} of a scan's voxels"
    )
    if seldom:
        reason += f". In fewer than half of the cases: {', '.join(seldom)}"
    return Decision("augmentation::foreground", share, reason)


def _rounded(value: float | NDArray[np.float64]) -> float:
    """Two significant digits."""
    return float(f"{float(value):.2g}")
