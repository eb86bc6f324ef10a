"""What the labels decide: mirroring, plausible masks, pieces, how rare labels are drawn."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....data.datasets.fingerprint.numbers import Fingerprint
from ....data.datasets.soundness.families.sides import sides_of
from .decision import Decision

_ALWAYS = 0.9  # share of cases in which two labels lie the same way round, so that it tells them
_APART_MM = 3.0
_FEW = 5  # cases from which on an order is believed
_ONE_PIECE = 0.98  # share of the largest piece: what is less than the rest is not a second piece
_MOST_CASES = 0.95
_LOW, _HIGH = 0.7, 1.4  # of the lowest and highest volume
_MANY = 50  # cases from which on the 1st and 99th percentile stand for the lowest and highest
_RARE = 1e-4  # share of a scan's voxels
_SIDE = re.compile(r"(?i)(?<![a-z])(left|right)(?![a-z])")


def decide_mirror_axes(fingerprint: Fingerprint) -> Decision:
    """Axes along which nothing tells labels apart; a single label may be mirrored along all."""
    names = fingerprint.foreground
    pairs = sides_of({name: value for value, name in enumerate(fingerprint.labels)})
    sided = [name for name in names if _SIDE.search(name.replace("_", " "))]
    told = {axis: _told_apart(fingerprint, axis) for axis in range(3)}
    axes = [axis for axis in range(3) if not told[axis] and not (axis == 0 and (pairs or sided))]
    reasons = []
    if pairs or sided:
        shown = sided or [fingerprint.labels[value] for value in pairs[0]]
        reasons.append(f"labels have sides ({', '.join(shown[:2])}), so x is never mirrored")
    for axis, found in told.items():
        if found and not (axis == 0 and (pairs or sided)):
            reasons.append(
                f"along {'xyz'[axis]} {found[0]} and {found[1]} always lie the same way round, "
                "which a mirrored window would deny"
            )
    if axes:
        reasons.append(f"along {', '.join('xyz'[axis] for axis in axes)} nothing speaks against it")
    return Decision("mirror_axes", axes, "; ".join(reasons))


def _told_apart(fingerprint: Fingerprint, axis: int) -> tuple[str, str] | None:
    """Two labels that lie the same way round along an axis in nearly all cases, if there are."""
    for one, other in combinations(fingerprint.foreground[:20], 2):
        apart = np.array(
            [
                case.labels[one].centre[axis] - case.labels[other].centre[axis]
                for case in fingerprint.cases
                if one in case.labels and other in case.labels
            ]
        )
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
