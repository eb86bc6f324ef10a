"""Numbers of cases as boxes with a dot per case, run beside run, label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import TEXT, literal
from .labels import spoken

RUN_COLOURS = ("#4f8fd8", "#e08a3c", "#57a773", "#b35fc4", "#c9504f", "#7b8794")


def spread_figure(
    numbers: Mapping[str, Sequence[Sequence[float]]],
    runs: Sequence[str],
    title: str,
    *,
    dark: bool = False,
) -> Figure:
    """Boxes (quartiles, and whiskers to 1.5 of their distance) with every case as a dot.

    Args:
        numbers: label -> of each run its cases' numbers, without NaN.
        runs: names.
        title: of the axis of the numbers.
    """
    ink, line, back = (TEXT, "#39414a", "#15191d") if dark else ("#1c2126", "#dde1e5", "#ffffff")
    height = 0.9 + 0.34 * len(numbers) * len(runs) + 0.2 * len(numbers)
    figure = Figure(figsize=(7.4, height), facecolor=back, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(back)
    step = len(runs) + 0.6
    for n, by_run in enumerate(numbers.values()):
        for k, values in enumerate(by_run):
            if len(values):
                _box(axes, values, -(n * step + k), _colour(k), ink)
    middles = [-(n * step + (len(runs) - 1) / 2) for n in range(len(numbers))]
    axes.set_yticks(middles, [literal(spoken(label)) for label in numbers])
    axes.tick_params(colors=ink, labelsize=9, length=0)
    axes.grid(axis="x", color=line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(title, color=ink, fontsize=9.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(line)
    if len(runs) > 1:
        _key(axes, runs, ink)
    return figure


def _colour(run: int) -> str:
    return RUN_COLOURS[run % len(RUN_COLOURS)]


def _box(axes: Axes, values: Sequence[float], place: float, colour: str, ink: str) -> None:
    axes.boxplot(
        [list(values)],
        positions=[place],
        orientation="horizontal",
        widths=0.62,
        showfliers=False,
        manage_ticks=False,
        boxprops={"color": colour, "linewidth": 1.4},
        whiskerprops={"color": colour, "linewidth": 1.2},
        capprops={"color": colour, "linewidth": 1.2},
        medianprops={"color": ink, "linewidth": 1.8},
    )
    heights = place + np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    axes.scatter(values, heights, s=9, color=colour, alpha=0.55, linewidths=0, zorder=3)


def _key(axes: Axes, runs: Sequence[str], ink: str) -> None:
    for k, name in enumerate(runs):
        axes.scatter([], [], s=22, color=_colour(k), label=literal(name))
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(len(runs), 3),
        fontsize=9,
        frameon=False,
        handletextpad=0.2,
        borderaxespad=0.2,
    )
    for text in legend.get_texts():
        text.set_color(ink)
