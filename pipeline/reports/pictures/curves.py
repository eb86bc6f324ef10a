"""Curves of a training, for reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import TEXT, literal
from .labels import label_colour, spoken


def loss_figure(rows: Sequence[Mapping[str, str]], *, dark: bool = False) -> Figure:
    """Training loss over iterations, from the rows of metrics_train.csv."""
    figure, axes = _curve_axes("Training loss", dark)
    x = [float(row["iteration"]) for row in rows]
    axes.plot(
        x,
        [float(row["loss"]) for row in rows],
        color="#4f8fd8",
        linewidth=2,
        marker="o",
        markersize=3.5,
    )
    _from_zero(axes, [float(row["loss"]) for row in rows])
    return figure


def dice_figure(rows: Sequence[Mapping[str, str]], *, dark: bool = False) -> Figure:
    """Validation Dice per label, and the mean, over iterations, from metrics_train.csv."""
    figure, axes = _curve_axes("Dice on validation cases", dark)
    x = [float(row["iteration"]) for row in rows]
    names = (
        [name for name in rows[0] if name.startswith("dice_") and name != "dice_mean"]
        if rows
        else []
    )
    for value, column in enumerate(names, start=1):
        y = [float(row[column]) for row in rows]
        axes.plot(
            x,
            y,
            color=label_colour(value),
            linewidth=1.5,
            label=literal(spoken(column.removeprefix("dice_"))),
        )
    ink = TEXT if dark else "#1c2126"
    axes.plot(x, [float(row["dice_mean"]) for row in rows], color=ink, linewidth=2.4, label="mean")
    axes.set_ylim(0, 1)
    _legend(axes, "lower right")
    return figure


def _legend(axes: Axes, place: Literal["best", "lower right"]) -> None:
    axes.legend(
        loc=place,
        ncols=2,
        fontsize=8.5,
        facecolor=axes.get_facecolor(),
        edgecolor="none",
        labelcolor="linecolor",
        handlelength=1.2,
    )


def _curve_axes(title: str, dark: bool) -> tuple[Figure, Axes]:
    ink, line, back = (TEXT, "#39414a", "#15191d") if dark else ("#1c2126", "#dde1e5", "#ffffff")
    figure = Figure(figsize=(4.6, 3.3), facecolor=back, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(back)
    axes.set_title(title, loc="left", fontsize=11, color=ink, weight="bold", pad=8)
    axes.set_xlabel("iteration", color=ink, fontsize=9.5)
    axes.tick_params(colors=ink, labelsize=9, length=0)
    axes.grid(axis="y", color=line, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(line)
    return figure, axes


def folds_figure(
    folds: Sequence[Sequence[Mapping[str, str]]], column: str, title: str, *, dark: bool = False
) -> Figure:
    """One column of the folds' metrics_train.csv over iterations, a line per fold."""
    figure, axes = _curve_axes(title, dark)
    for number, rows in enumerate(folds, start=1):
        axes.plot(
            [float(row["iteration"]) for row in rows],
            [float(row[column]) for row in rows],
            color=label_colour(number),
            linewidth=1.5,
            label=f"fold {number}",
        )
    _from_zero(axes, [float(row[column]) for rows in folds for row in rows])
    if column.startswith("dice"):
        axes.set_ylim(0, 1)
    _legend(axes, "best")
    return figure


def _from_zero(axes: Axes, values: Sequence[float]) -> None:
    """Let an axis begin at 0, or lower where values are: some losses are negative."""
    low = min((value for value in values if math.isfinite(value)), default=0.0)
    high = max((value for value in values if math.isfinite(value)), default=0.0)
    axes.set_ylim(bottom=0 if low >= 0 else low - 0.05 * max(high - low, abs(low)))
    if high < 0:
        axes.set_ylim(top=0)
