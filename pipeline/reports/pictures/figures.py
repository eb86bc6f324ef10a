"""Pictures of cases and attention, for reports. Without pyplot: no global state, no window."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ...models.attention import Attention
from .grey_window import SOFT_TISSUE, grey_window
from .labels import label_colour, spoken
from .slices import EDGES, PLANES, Plane, View, telling_slice

BACK, TEXT, _FAINT = "#101316", "#e6e9ec", "#a4adb6"
_WIDTH_INCHES, _DPI = 8.0, 150
_GAP_MM = 6.0


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    # without the metadata the same figure gives the same file on every matplotlib
    # level 3 takes half of zlib's time, and 6 % more room than its default of 6
    told: dict[str, Any] = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
    figure.savefig(content, format="png", dpi=_DPI, **told)
    return content.getvalue()


def case_figure(
    image: View,
    prediction: View,
    *,
    labels: Sequence[str],
    name: str,
    truth: View | None = None,
    notes: Mapping[str, str] | None = None,
    window: tuple[float, float] = SOFT_TISSUE,
    filled: str = "prediction",
    outlined: str = "truth",
) -> Figure:
    """Axial, coronal, sagittal slice in one scale: prediction filled, truth outlined, a legend.

    Args:
        image: a scan. prediction, truth: label values. All on one grid.
        labels: names in the order of the values, the background first.
        notes: Dice of a label, as text; shown behind it in the legend.
        window: intensities shown as black and white, see grey_window.
        filled, outlined: what the legend calls prediction and truth.
    """
    shown = truth if truth is not None and truth.array.any() else prediction
    (wide, deep), (_, tall), (side, _) = (image.extent_mm(plane) for plane in PLANES)
    width, height = wide + _GAP_MM + side, deep + _GAP_MM + tall
    figure = Figure(figsize=(_WIDTH_INCHES, _WIDTH_INCHES * height / width), facecolor=BACK)
    corners: dict[Plane, tuple[float, float, float, float]] = {
        "axial": (0, tall + _GAP_MM, wide, deep),
        "coronal": (0, 0, wide, tall),
        "sagittal": (wide + _GAP_MM, 0, side, tall),
    }
    for plane, (x, y, w, h) in corners.items():
        axes = figure.add_axes((x / width, y / height, w / width, h / height))
        index = telling_slice(shown, plane)
        grey(axes, image, plane, index, window)
        fill(axes, prediction, plane, index, alpha=0.45)
        if truth is not None:
            _outline(axes, truth, plane, index)
        letters(axes, plane, title=plane)
    scale_bar(figure.axes[0])
    corner = ((wide + _GAP_MM) / width, (tall + _GAP_MM) / height, side / width, deep / height)
    keys = (filled,) if truth is None else (filled, outlined)
    _legend(figure.add_axes(corner), labels, name, notes or {}, keys)
    return figure


def attention_figure(attention: Attention, *, name: str) -> Figure:
    """The gates' coefficients over one axial slice.

    A column is a skip connection, the finest first, a row one of its gates. Each map has its own
    colour range, printed on it: what a gate passes differs more between places than its range is
    wide.
    """
    image, labels = (
        View.of(attention.image, attention.affine),
        View.of(attention.labels, attention.affine),
    )
    index = telling_slice(labels, "axial")
    window = grey_window(attention.image, ct=False)
    wide, deep = image.extent_mm("axial")
    columns = max(len(attention.coefficients), 3)
    rows = 1 + max(maps.shape[0] for maps in attention.coefficients.values())
    cell = _WIDTH_INCHES / columns
    inches = rows * cell * deep / wide
    figure = Figure(figsize=(_WIDTH_INCHES, inches), facecolor=BACK)
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.03, "left": 0, "right": 1, "top": 1, "bottom": 0},
    )
    for axes in grid.ravel():
        axes.axis("off")
    for axes, title in zip(grid[0], ("scan", "segmentation"), strict=False):
        grey(axes, image, "axial", index, window)
        letters(axes, "axial", title=title)
    fill(grid[0, 1], labels, "axial", index, alpha=0.55)
    heat = None
    for column, (gate, maps) in enumerate(attention.coefficients.items()):
        for row, coefficients in enumerate(maps, start=1):
            axes, view = grid[row, column], View.of(coefficients, attention.affine)
            cut = np.asarray(view.picture("axial", index))
            grey(axes, image, "axial", index, window)
            heat = axes.imshow(
                cut, cmap="inferno", alpha=0.62, extent=(0, wide, deep, 0), interpolation="bilinear"
            )
            title = f"{gate}, {row}" if len(maps) > 1 else gate
            letters(axes, "axial", title=title)
            axes.text(
                0.97,
                0.03,
                f"{cut.min():.2f} to {cut.max():.2f}",
                **_small(axes, ha="right", va="bottom"),
            )
    _attention_key(grid[0, 2], heat, name)
    return figure


def literal(text: str) -> str:
    """Text that matplotlib draws as it is: no formula between dollar signs, nothing undecodable."""
    return text.encode(errors="backslashreplace").decode().replace("$", r"\$")


def grey(axes: Axes, image: View, plane: Plane, index: int, window: tuple[float, float]) -> None:
    """Draw a slice of a scan, in mm."""
    w, h = image.extent_mm(plane)
    low, high = window
    cut = np.asarray(image.picture(plane, index))
    axes.imshow(
        cut, cmap="gray", vmin=low, vmax=high, extent=(0, w, h, 0), interpolation="bilinear"
    )
    axes.axis("off")


def fill(axes: Axes, labels: View, plane: Plane, index: int, *, alpha: float) -> None:
    """Draw a slice of labels in their colours, in mm."""
    w, h = labels.extent_mm(plane)
    cut = np.asarray(labels.picture(plane, index)).astype(np.int64)
    table = np.zeros((int(cut.max()) + 1, 4))
    for value in range(1, len(table)):
        table[value] = (*to_rgb(label_colour(value)), alpha)
    axes.imshow(table[cut], extent=(0, w, h, 0), interpolation="nearest")


def _outline(axes: Axes, labels: View, plane: Plane, index: int) -> None:
    w, h = labels.extent_mm(plane)
    # a rim of background, so that an organ at the edge is closed too
    cut: NDArray[Any] = np.pad(np.asarray(labels.picture(plane, index)), 1)
    dy, dx = h / (cut.shape[0] - 2), w / (cut.shape[1] - 2)
    xs, ys = (np.arange(cut.shape[1]) - 0.5) * dx, (np.arange(cut.shape[0]) - 0.5) * dy
    for value in np.unique(cut[cut > 0]):
        mask = (cut == value).astype(float)
        axes.contour(xs, ys, mask, levels=[0.5], colors=[label_colour(int(value))], linewidths=1.4)
    axes.set_xlim(0, w)
    axes.set_ylim(h, 0)


def _small(axes: Axes, **more: Any) -> dict[str, Any]:
    rim = [withStroke(linewidth=2, foreground="#000000")]  # readable over bone
    return {"transform": axes.transAxes, "color": TEXT, "fontsize": 8, "path_effects": rim, **more}


def letters(axes: Axes, plane: Plane, *, title: str) -> None:
    """Say at the edges where the patient's right, front and head are, and what is shown."""
    left, right, top, bottom = EDGES[plane]
    axes.text(0.012, 0.5, left, **_small(axes, ha="left", va="center", color=_FAINT))
    axes.text(0.988, 0.5, right, **_small(axes, ha="right", va="center", color=_FAINT))
    axes.text(0.5, 0.985, top, **_small(axes, ha="center", va="top", color=_FAINT))
    axes.text(0.5, 0.015, bottom, **_small(axes, ha="center", va="bottom", color=_FAINT))
    axes.text(0.02, 0.975, literal(title), **_small(axes, ha="left", va="top"))


def scale_bar(axes: Axes) -> None:
    """A bar of some cm at the lower right of a picture in mm."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    w, h = right - left, bottom - top
    long = next((cm for cm in (5, 2, 1) if 10 * cm <= w / 3), 1) * 10
    end, low = left + 0.97 * w, top + 0.965 * h
    axes.add_patch(Rectangle((end - long, low), long, h * 0.008, color=TEXT))
    told: dict[str, Any] = {"ha": "center", "va": "bottom", "color": TEXT, "fontsize": 8}
    axes.text(end - long / 2, low - 0.01 * h, f"{long // 10} cm", **told)


def _legend(
    axes: Axes, labels: Sequence[str], name: str, notes: Mapping[str, str], keys: Sequence[str]
) -> None:
    axes.axis("off")
    _heading(axes, (0.06, 0.93), name, fontsize=12)
    key: list[Any] = [Patch(facecolor=(1, 1, 1, 0.4), edgecolor="none", label=keys[0])]
    key += [Line2D([], [], color=TEXT, linewidth=1.4, label=outline) for outline in keys[1:]]
    place: dict[str, Any] = {
        "frameon": False,
        "fontsize": 9.5,
        "labelcolor": TEXT,
        "borderaxespad": 0,
        "borderpad": 0,
    }
    axes.legend(handles=key, loc="center left", bbox_to_anchor=(0.06, 0.82), ncols=2, **place)
    count = len(labels) - 1
    step = min(0.075, 0.68 / max(count, 1))
    text: dict[str, Any] = {
        "transform": axes.transAxes,
        "color": TEXT,
        "fontsize": min(10.5, 140 * step),
        "va": "center",
    }
    if notes:
        axes.text(0.94, 0.74, "Dice", **text | {"color": _FAINT, "ha": "right"})
    for value, label in enumerate(labels):
        if value and label:  # a region's value may leave one out
            y = 0.74 - value * step
            axes.add_patch(
                Rectangle(
                    (0.06, y - 0.3 * step),
                    0.06,
                    0.6 * step,
                    color=label_colour(value),
                    transform=axes.transAxes,
                )
            )
            axes.text(0.155, y, literal(spoken(label)), **text)
            axes.text(0.94, y, notes.get(label, ""), ha="right", **text)


def _heading(axes: Axes, place: tuple[float, float], name: str, *, fontsize: float) -> None:
    style: dict[str, Any] = {"color": TEXT, "fontsize": fontsize, "weight": "bold", "va": "top"}
    axes.text(*place, literal(name), transform=axes.transAxes, **style)


def _attention_key(axes: Axes, heat: Any, name: str) -> None:
    lines = ["what each gate lets pass", "of its skip, from", "fine (left) to coarse."]
    text = "\n".join(["Attention coefficients:", *lines])
    _heading(axes, (0.08, 0.92), name, fontsize=11)
    axes.text(
        0.08,
        0.78,
        text,
        transform=axes.transAxes,
        color=TEXT,
        fontsize=9,
        va="top",
        linespacing=1.45,
    )
    if heat is None:
        return
    bar = axes.inset_axes((0.08, 0.16, 0.84, 0.06))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=heat.get_cmap(), aspect="auto")
    bar.axis("off")
    axes.text(0.08, 0.13, "a map's lowest", **_small(axes, ha="left", va="top", color=_FAINT))
    axes.text(0.92, 0.13, "its highest", **_small(axes, ha="right", va="top", color=_FAINT))
