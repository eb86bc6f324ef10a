"""What looks wrong with a mask: hints in words, so that a person knows which masks to open first.

Each hint is a cheap test that a sound mask passes. None says that a mask is wrong, and a mask
without hints may be. Among them are the four rules of the Imaging Data Commons (Krishnaswamy et
al., arXiv 2406.14486): a label ends within the scan, is of one piece, lies on its side, and is not
tiny.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ....data.errors import ConfigError
from ....data.geometry.affines import orientation
from ....data.label_tables.sides import sides_of
from ....transforms.connected import Components, connected_components
from ....transforms.restore.regions import region_mask
from .label_places import centres_mm, missing_slices
from .volumes import LabelVolume

UNSURE_MARGIN = 0.3
"""Mean difference of the two best probabilities along boundaries below which a mask gets a hint."""
DISAGREEMENT = 0.85
"""Share of foreground on which all mirrored views agree, below which a mask gets a hint."""
STRAY_SHARE = 0.02
"""Share of a label's voxels outside its largest pieces from which on there is a hint."""

LEAST_ML = 0.01
"""Volume below which a label is a hint where the bundle does not say how large it is."""

_SIDES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "upper", "I": "lower"}
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


class Expected(TypedDict, total=False):
    """What is plausible for one label; what is not given is not tested, or by its default.

    ml: lowest and highest plausible volume; a lowest above 0 makes an absent label a hint. pieces:
    how many connected pieces it has; 1 by default, 0 does not test. cut: it may touch the volume's
    border (a vessel or the spinal cord runs through it); false by default.
    """

    ml: Sequence[float]
    pieces: int
    cut: bool


Expectations = Mapping[str, Expected]


def check_expectations(expected: Expectations, names: Sequence[str]) -> None:
    """Refuse expectations that name no label of the bundle or hold other things than `Expected`.

    Raises:
        ConfigError: see above.
    """
    for name, what in expected.items():
        unknown = set(what) - set(Expected.__annotations__)
        limits = what.get("ml", [0, 1])
        if name not in names or unknown or len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
            raise ConfigError(
                f"expected::{name}: {dict(what)} is not understood; a label of "
                f"{', '.join(names[1:])} with ml: [low, "
                "high], pieces: number, cut: true or false"
            )


def case_hints(
    labels: NDArray[np.integer[Any]],
    *,
    affine: NDArray[np.float64],
    names: Sequence[str],
    volumes: Sequence[LabelVolume],
    expected: Expectations,
    removed: Mapping[int, tuple[int, int]] | None = None,
    margin: float | None = None,
    mirror_agreement: float | None = None,
    regions: bool = False,
) -> list[str]:
    """The hints of one mask, in words.

    Args:
        labels: (X, Y, Z), an index of `names` each; of regions the bits of those that hold a voxel.
        affine: (4, 4) of that grid, RAS+ mm.
        volumes: of each foreground label, see `label_volumes`.
        removed: label -> (pieces, voxels removed) where post-processing kept only the largest
            piece.
        margin: mean margin at boundaries, 0 to 1 (Restoration.boundary_margin).
        mirror_agreement: 0 to 1 (WindowForward.mirror_agreement).
        regions: labels overlap.
    """
    hints = _volumes(volumes, expected)
    removed = removed or {}
    centres: dict[int, NDArray[np.float64]] = {}
    if regions:
        for number, name in enumerate(names[1:]):
            mask, alone = region_mask(labels, number), ["", name]
            found = connected_components(mask)
            gone = {1: removed[number + 1]} if number + 1 in removed else {}
            hints += _pieces(found, affine, alone, [volumes[number]], expected, gone)
            hints += _cut(mask, affine, alone, expected)
            for place in centres_mm(found, affine).values():
                centres[number + 1] = place
    else:
        found = connected_components(labels)
        hints += _pieces(found, affine, names, volumes, expected, removed)
        hints += _cut(labels, affine, names, expected)
        centres = centres_mm(found, affine)
    hints += _wrong_side(centres, names)
    if margin is not None and margin < UNSURE_MARGIN:
        hints.append(f"unsure where labels meet: margin {margin:.2f}, below {UNSURE_MARGIN}")
    if mirror_agreement is not None and mirror_agreement < DISAGREEMENT:
        hints.append(
            f"mirrored views disagree: agreement {mirror_agreement:.2f}, below {DISAGREEMENT}"
        )
    return hints


def _volumes(volumes: Sequence[LabelVolume], expected: Expectations) -> list[str]:
    hints = []
    if not any(volume.voxels for volume in volumes):
        hints.append("nothing was found")
    for volume in volumes:
        wanted = expected.get(volume.name, {})
        low, high = wanted.get("ml", (0, float("inf")))
        if volume.voxels == 0:
            if low > 0:
                hints.append(f"{volume.name}: absent, expected {low:g} to {high:g} ml")
        elif not low <= volume.ml <= high:
            hints.append(f"{volume.name}: {volume.ml:.4g} ml, expected {low:g} to {high:g}")
        elif "ml" not in wanted and wanted.get("pieces", 1) > 0 and volume.ml < LEAST_ML:
            hints.append(f"{volume.name}: {volume.ml:.2g} ml, next to nothing")
    return hints


def _pieces(
    found: Components,
    affine: NDArray[np.float64],
    names: Sequence[str],
    volumes: Sequence[LabelVolume],
    expected: Expectations,
    removed: Mapping[int, tuple[int, int]],
) -> list[str]:
    hints = []
    tested = [v for v in range(1, len(names)) if expected.get(names[v], {}).get("pieces", 1) > 0]
    for value, (pieces, voxels) in removed.items():
        kept = volumes[value - 1].voxels
        if value in tested and voxels > STRAY_SHARE * (kept + voxels):
            share = 100 * voxels / (kept + voxels)
            hints.append(
                f"{names[value]}: {pieces} pieces, {share:.0f} % outside the largest was removed"
            )
    open_labels = [value for value in tested if value not in removed and volumes[value - 1].voxels]
    gaps = missing_slices(found, affine, specks=STRAY_SHARE) if open_labels else {}
    for value in open_labels:
        sizes = sorted(found.voxels[found.label == value].tolist(), reverse=True)
        wanted = expected.get(names[value], {}).get("pieces", 1)
        stray = sum(sizes[wanted:])
        if stray > STRAY_SHARE * sum(sizes):
            gap = f", {gaps[value]} slices between without it" if gaps.get(value) else ""
            hints.append(f"{names[value]}: {len(sizes)} pieces, expected {wanted}{gap}")
        elif wanted > 1 and len(sizes) < wanted:
            hints.append(f"{names[value]}: {len(sizes)} piece, expected {wanted}")
    return hints


def _wrong_side(centres: Mapping[int, NDArray[np.float64]], names: Sequence[str]) -> list[str]:
    """Organs of two sides whose left one lies at the patient's right of the right one."""
    sides = sides_of({name: value for value, name in enumerate(names) if value})
    return [
        f"{names[left]} lies to the right of {names[right]}: sides may be exchanged"
        for right, left in sides
        if right in centres and left in centres and centres[left][0] > centres[right][0]
    ]


def _cut(
    labels: NDArray[np.integer[Any]],
    affine: NDArray[np.float64],
    names: Sequence[str],
    expected: Expectations,
) -> list[str]:
    """Labels in the outermost voxels of the volume: the organ goes on outside of it."""
    ends: dict[int, list[str]] = {}
    for axis, code in enumerate(orientation(affine)):
        for plane, side in ((0, _OPPOSITE[code]), (-1, code)):
            outermost = np.moveaxis(labels, axis, 0)[plane]  # a view; np.take copies the volume
            for value in np.flatnonzero(np.bincount(outermost.ravel())).tolist():
                if value and not expected.get(names[value], {}).get("cut", False):
                    ends.setdefault(value, []).append(_SIDES[side])
    return [
        f"{names[value]}: cut off at the {' and '.join(sides)} border"
        for value, sides in sorted(ends.items())
    ]


def look_first(rows: Sequence[Mapping[str, Any]], count: int = 5) -> list[Mapping[str, Any]]:
    """The rows that a person should look at first: most hints, then the least sure."""
    hinted = [row for row in rows if _number(row.get("hint_count"), 0)]
    return sorted(
        hinted,
        key=lambda row: (-_number(row["hint_count"], 0), _number(row.get("margin"), 1.0)),
    )[:count]


def _number(text: Any, otherwise: float) -> float:
    """A number of a table that somebody may have changed."""
    try:
        return float(text or otherwise)
    except ValueError:
        return otherwise
