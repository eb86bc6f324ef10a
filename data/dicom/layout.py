"""From the headers of a series' slices to one regular grid: mended and noted, or refused.

Slices are put in order by their position along the normal of their plane, never by file name or
number, and spacing comes from positions, never from SliceThickness. DICOM's world is LPS; the
affine made here is RAS+. Errors are `ImageError` without the series' name, which
`gridgate.data.dicom.volume` puts in front.

The limits: a slice may lie up to 0.1 mm or 5 % of the spacing (whichever is more) from its regular
place; up to two neighbouring slices, and all in all one slice or 5 % of them (whichever is more),
may be missing. Slices that are not evenly spaced are refused, or interpolated onto an even grid
where that is asked for; see `gridgate.data.dicom.uneven`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..geometry.affines import Affine
from .consistency import check_one_volume
from .slices import SliceHeader
from .uneven import Blend, UnevenError, even_grid, tolerance

Uneven = Literal["refuse", "resample"]

_SAME_PLACE_MM = 0.01  # closer than this, two slices are at one position
_NOTED_MM = 0.01  # smaller deviations are rounding
_NEIGHBOURS_MISSING, _SHARE_MISSING = 2, 0.05
_STEEPEST_TILT = 45.0  # degrees; scanners tilt to 30
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Layout:
    """How a volume is made of slices.

    Args:
        sources: for each z the index of its header, or None for a slice that is to be interpolated.
        duplicates: (kept, dropped) indices of headers at one position, whose pixels must be equal.
        affine: (4, 4) voxel index to RAS+ mm; sheared for a tilted gantry.
        shape: (columns, rows, slices).
        notes: what was mended, in words.
        blends: for each z whose source is None, the slices that it is interpolated from; else None.
        even: False where the slices were not evenly spaced and were all interpolated.
    """

    sources: tuple[int | None, ...]
    duplicates: tuple[tuple[int, int], ...]
    affine: Affine
    shape: tuple[int, int, int]
    notes: tuple[str, ...]
    blends: tuple[Blend | None, ...] = ()
    even: bool = True


def lay_out(headers: Sequence[SliceHeader], *, uneven: Uneven = "refuse") -> Layout:
    """Find the regular grid of a series.

    Args:
        headers: one per slice, in any order.
        uneven: what to do with slices that are not evenly spaced, or of which too many are missing:
            "refuse", or "resample" linearly onto the finest even grid.

    Raises:
        ImageError: fewer than two slices; mixed sizes, spacings, orientations, patients; slices
            that are not evenly spaced (UnevenError).
    """
    notes = check_one_volume(headers)
    first = headers[0]
    normal = np.cross(first.rows_along, first.columns_along)
    positions = np.array([one.position for one in headers])
    depth = positions @ normal
    # Names decide between slices at one position, so that the listing's order never counts.
    order = sorted(range(len(headers)), key=lambda index: (headers[index].name, index))
    order.sort(key=lambda index: float(depth[index]))
    kept, duplicates = _without_duplicates(order, depth, positions)
    if len(kept) < 2:
        raise ImageError(
            f"it has {len(kept)} slice position{'s'[: len(kept) != 1]} in {len(headers)} files, a "
            "volume needs two or "
            f"more; {_hint(headers)}"
        )
    if duplicates:
        names = ", ".join(headers[dropped].short for _, dropped in duplicates[:5])
        more = ", ..." if len(duplicates) > 5 else ""
        notes.append(f"{len(duplicates)} slices that were there twice were dropped ({names}{more})")
    even = True
    try:
        sources, blends, step, more_notes = _regular(kept, positions, normal)
    except UnevenError:
        if uneven != "resample":
            raise
        even = False
        grid = even_grid(kept, positions, normal)
        sources, blends, (step, tilted) = (
            grid.sources,
            grid.blends,
            _tilt(grid.step, normal, len(grid.sources) - 1),
        )
        more_notes = [*tilted, grid.note]
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.rows_along) * first.spacing[0]
    affine[:3, 1] = np.array(first.columns_along) * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = positions[kept[0]]
    return Layout(
        tuple(sources),
        tuple(duplicates),
        _LPS_TO_RAS @ affine,
        (*first.size, len(sources)),
        tuple(notes + more_notes),
        tuple(blends),
        even,
    )


def _regular(
    kept: Sequence[int], positions: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[list[int | None], list[Blend | None], NDArray[np.float64], list[str]]:
    """Sources, blends, the step and notes of slices that are evenly spaced, but for a few gaps."""
    steps = _whole_steps(positions[kept] @ normal, lambda z: _place(positions[kept[z]], normal))
    places = np.concatenate([[0], np.cumsum(steps)])
    step = (positions[kept[-1]] - positions[kept[0]]) / places[-1]
    jitter = _check_regular(positions[kept], places, step, normal)
    step, notes = _tilt(step, normal, int(places[-1]))
    sources: list[int | None] = [None] * (int(places[-1]) + 1)
    for place, index in zip(places, kept, strict=True):
        sources[int(place)] = index
    missing = [z for z, source in enumerate(sources) if source is None]
    blends: list[Blend | None] = [None] * len(sources)
    for z in missing:
        above = int(np.searchsorted(places, z))
        share = (z - places[above - 1]) / (places[above] - places[above - 1])
        blends[z] = Blend(kept[above - 1], kept[above], float(share))
    if missing:
        where = ", ".join(_place(positions[kept[0]] + z * step, normal) for z in missing)
        notes.append(
            f"{len(missing)} of {len(sources)} slices are missing and were interpolated, at {where}"
        )
    if jitter > _NOTED_MM:
        notes.append(
            f"slices lie up to {jitter:.2g} mm from their regular places; regular spacing is "
            "assumed"
        )
    return sources, blends, step, notes


def _without_duplicates(
    order: Sequence[int], depth: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[list[int], list[tuple[int, int]]]:
    kept = [order[0]]
    duplicates = []
    for index in order[1:]:
        last = kept[-1]
        if depth[index] - depth[last] > _SAME_PLACE_MM:
            kept.append(index)
        elif np.linalg.norm(positions[index] - positions[last]) <= _SAME_PLACE_MM:
            duplicates.append((last, index))
        else:
            raise ImageError(
                "it has slices in one plane that are shifted against each other, so it holds two "
                "fields of view; "
                "split the series"
            )
    return kept, duplicates


def _whole_steps(depth: NDArray[np.float64], place: Callable[[int], str]) -> NDArray[np.int64]:
    """How many regular steps lie between each slice and the next; more than 1 where some miss."""
    gaps = np.diff(depth)
    # The lower median: of two different gaps the smaller one is the regular one.
    regular = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    steps = np.rint(gaps / regular).astype(np.int64)
    off = np.abs(gaps - steps * regular)
    if (steps < 1).any() or (off > 2 * tolerance(regular)).any():
        z = int(np.argmax(np.where(steps < 1, np.inf, off)))
        raise UnevenError(
            f"its slices are not evenly spaced: {_summary(gaps)} apart, for instance {gaps[z]:.4g} "
            f"mm between {place(z)} and {place(z + 1)}; --uneven resample interpolates them onto "
            "an even grid, or split the series into its evenly spaced parts"
        )
    lost = int((steps - 1).sum())
    allowed = max(1, int(_SHARE_MISSING * (int(steps.sum()) + 1)))
    if lost and (steps.max() - 1 > _NEIGHBOURS_MISSING or lost > allowed or (steps == 1).sum() < 2):
        holes = [
            f"between {place(z)} and {place(z + 1)}" for z in np.flatnonzero(steps > 1).tolist()
        ]
        more = f" and {len(holes) - 5} more" if len(holes) > 5 else ""
        raise UnevenError(
            f"{lost} slices are missing from the {len(depth)} that are there, more than is filled "
            f"in: {', '.join(holes[:5])}{more}; export the series again, or, if it was taken so, "
            "--uneven resample interpolates them"
        )
    return steps


def _check_regular(
    positions: NDArray[np.float64],
    places: NDArray[np.int64],
    step: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> float:
    """The largest distance in mm of a slice from its place in the regular grid."""
    off = np.linalg.norm(positions - (positions[0] + places[:, None] * step), axis=1)
    worst = int(off.argmax())
    allowed = tolerance(float(step @ normal))
    if off[worst] > allowed:
        raise UnevenError(
            f"its slices are not evenly spaced: that at {_place(positions[worst], normal)} lies "
            f"{off[worst]:.3g} mm from its regular place, more than the {allowed:.2g} mm that "
            "pass; --uneven resample interpolates them onto an even grid, or split the series"
        )
    return float(off[worst])


def _tilt(
    step: NDArray[np.float64], normal: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], list[str]]:
    """The step from slice to slice, at a right angle to the slices unless the gantry was tilted."""
    across = float(step @ normal)
    aside = float(np.linalg.norm(step - across * normal))
    if aside * count <= _NOTED_MM:
        return across * normal, []
    angle = float(np.degrees(np.arctan2(aside, across)))
    if angle > _STEEPEST_TILT:
        raise ImageError(
            f"its slices move {aside:.3g} mm sideways and {across:.3g} mm forward from one to the "
            "next, which is no "
            "volume; export the series again"
        )
    return step, [
        f"the gantry is tilted: slices move {aside:.3g} mm sideways from one to the next "
        f"({angle:.3g} degrees); "
        "the volume's axes are sheared accordingly"
    ]


def _place(position: NDArray[np.float64], normal: NDArray[np.float64]) -> str:
    """The coordinate that changes most from slice to slice, as a viewer shows it (LPS, mm)."""
    axis = int(np.abs(normal).argmax())
    return f"{'xyz'[axis]} = {position[axis]:.7g} mm"


def _summary(gaps: NDArray[np.float64]) -> str:
    counts = Counter(f"{gap:.3g}" for gap in gaps)
    parts = [f"{gap} mm ({count} times)" for gap, count in counts.most_common(4)]
    return ", ".join(parts) + (", ..." if len(counts) > 4 else "")


def _hint(headers: Sequence[SliceHeader]) -> str:
    """By which tag the files of a series could be told apart."""
    for number, (tag, _) in enumerate(headers[0].acquisition):
        if len({one.acquisition[number][1] for one in headers}) > 1:
            return f"its files differ in {tag}: split the series by it"
    return "export the series again"
