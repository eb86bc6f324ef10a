"""Where a mask and the truth differ: three planes through a label, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .figures import BACK, TEXT, fill, grey, letters, literal, scale_bar
from .labels import spoken
from .slices import CUT, PLANES, Plane, View

MISSED, MADE_UP, CONFUSED = "#4f8fd8", "#e0483c", "#e0b13c"
_MARGIN_MM, _LEAST_MM = 15.0, 40.0
_INCHES = 2.05


def difference_figure(
    image: View,
    prediction: View,
    truth: View,
    *,
    label: int,
    labels: Sequence[str],
    name: str,
    note: str = "",
) -> Figure:
    """Scan, truth, prediction and their difference, in three planes through a label's centre.

    A fourth row is the axial slice in which the label differs most. Missed voxels are blue, made-up
    ones red, those of another label yellow. Grey values are chosen around those of the label. The
    patient's right is at the left of axial and coronal pictures.

    Args:
        image: a scan; prediction, truth: label values, all on one grid.
        label: the value of the label to look at.
        labels: names in the order of the values, the background first.
        name: of the case; note: behind it.
    """
    ours, theirs = np.asarray(prediction.array), np.asarray(truth.array)
    of_label = (theirs == label) | (ours == label)
    if not of_label.any():
        of_label = (theirs > 0) | (ours > 0)
    differs = (theirs == label) != (ours == label)
    box = _box(of_label, image.spacing_mm)
    rows: list[tuple[Plane, int, str]] = [
        (plane, _middle(of_label, CUT[plane]), plane) for plane in PLANES
    ]
    if differs.any():
        worst = int(differs.sum(axis=(0, 1)).argmax())
        rows.append(("axial", worst, "differs most"))
    window = _window(image.array[of_label] if of_label.any() else image.array[box])
    figure = Figure(figsize=(4 * _INCHES, len(rows) * _INCHES + 0.62), facecolor=BACK)
    place = {"wspace": 0.03, "hspace": 0.03, "left": 0, "right": 1, "bottom": 0}
    top = len(rows) * _INCHES / (len(rows) * _INCHES + 0.62)
    grid = figure.subplots(len(rows), 4, squeeze=False, gridspec_kw={**place, "top": top})
    for axes, (plane, index, title) in zip(grid, rows, strict=True):
        for one in axes:
            grey(one, image, plane, index, window)
        fill(axes[1], truth, plane, index, alpha=0.5)
        fill(axes[2], prediction, plane, index, alpha=0.5)
        _difference(axes[3], prediction, truth, plane, index)
        for one, what in zip(axes, (title, "truth", "prediction", "difference"), strict=True):
            _show_box(one, image, plane, box)
            letters(one, plane, title=what)
    scale_bar(grid[0, 0])
    _heading(figure, f"{name}: {spoken(labels[label])}", note)
    return figure


def _heading(figure: Figure, text: str, note: str) -> None:
    told: dict[str, Any] = {"color": TEXT, "va": "top"}
    figure.text(0.008, 0.988, literal(text), fontsize=11, weight="bold", **told)
    figure.text(0.992, 0.988, literal(note), fontsize=9.5, ha="right", **told)
    height = 1 - 0.36 / figure.get_figheight()
    for place, colour, word in (
        (0.008, MISSED, "missed"),
        (0.12, MADE_UP, "made up"),
        (0.25, CONFUSED, "another label"),
    ):
        figure.text(place, height, "\N{BLACK SQUARE}", color=colour, fontsize=9, va="top")
        figure.text(place + 0.02, height, word, fontsize=9, **told)


def _difference(axes: Axes, prediction: View, truth: View, plane: Plane, index: int) -> None:
    """Every voxel whose label differs."""
    ours = np.asarray(prediction.picture(plane, index))
    theirs = np.asarray(truth.picture(plane, index))
    kinds = np.zeros((*ours.shape, 4))
    for colour, where in (
        (MISSED, (theirs > 0) & (ours == 0)),
        (MADE_UP, (theirs == 0) & (ours > 0)),
        (CONFUSED, (theirs > 0) & (ours > 0) & (theirs != ours)),
    ):
        kinds[where] = (*to_rgb(colour), 0.85)
    w, h = truth.extent_mm(plane)
    axes.imshow(kinds, extent=(0, w, h, 0), interpolation="nearest")


def _box(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """The voxels around a mask, with a margin; all where it is empty."""
    box = []
    for axis, step in enumerate(spacing_mm):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        size = mask.shape[axis]
        if not used.size:
            box.append(slice(0, size))
            continue
        wide = (used[-1] + 1 - used[0]) * step
        margin = max(_MARGIN_MM, (_LEAST_MM - wide) / 2) / step
        box.append(slice(max(int(used[0] - margin), 0), min(int(used[-1] + 1 + margin), size)))
    return tuple(box)


def _show_box(axes: Axes, view: View, plane: Plane, box: Sequence[slice]) -> None:
    """Limit a picture to a box, made square so that all pictures are one size."""
    w, h = view.extent_mm(plane)
    cut = CUT[plane]
    across, up = [axis for axis in range(3) if axis != cut]
    centres, sizes = [], []
    for axis, extent in ((across, w), (up, h)):
        step = view.spacing_mm[axis]
        start, stop = box[axis].start * step, box[axis].stop * step
        centres.append(extent - (start + stop) / 2)  # pictures are turned, see View.picture
        sizes.append(stop - start)
    half = max(sizes) / 2
    axes.set_xlim(centres[0] - half, centres[0] + half)
    axes.set_ylim(centres[1] + half, centres[1] - half)
    axes.set_aspect("equal")
    axes.set_facecolor(BACK)


def _middle(mask: NDArray[np.bool_], axis: int) -> int:
    """The slice of a mask's centre of mass; the middle one of an empty mask."""
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    if not counts.any():
        return mask.shape[axis] // 2
    return round(float(counts @ np.arange(len(counts)) / counts.sum()))


def _window(values: NDArray[np.generic]) -> tuple[float, float]:
    """Grey values around those of a label: 1.3 times their 5th to 95th percentile each way."""
    low, middle, high = np.percentile(np.asarray(values, np.float32), (5, 50, 95))
    wide = 1.3 * float(high - low) or 1.0
    return float(middle) - wide, float(middle) + wide
