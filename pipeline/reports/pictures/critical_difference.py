"""The critical-difference diagram of Demsar (2006), by scikit-posthocs."""

from __future__ import annotations

from matplotlib.figure import Figure

from ...comparison.friedman import Ranks, posthocs
from .figures import TEXT, literal


def critical_difference_figure(ranks: Ranks, *, dark: bool = False) -> Figure:
    """Runs along their mean rank; a bar joins those that Nemenyi's test does not tell apart.

    Raises:
        ConfigError: scikit-posthocs is not installed.
    """
    import pandas  # comes with scikit-posthocs

    ink, back = (TEXT, "#15191d") if dark else ("#1c2126", "#ffffff")
    figure = Figure(figsize=(7.4, 1.1 + 0.3 * len(ranks.runs)), facecolor=back)
    axes = figure.subplots()
    axes.set_facecolor(back)
    names = [literal(name) for name in ranks.runs]
    posthocs().critical_difference_diagram(
        dict(zip(names, ranks.mean, strict=True)),
        pandas.DataFrame(ranks.nemenyi, index=names, columns=names),
        ax=axes,
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
        color_palette=dict.fromkeys(names, ink),
        label_props={"fontsize": 9.5},
        elbow_props={"linewidth": 1},
        crossbar_props={"color": "#4f8fd8", "linewidth": 3, "marker": None},
    )
    axes.tick_params(colors=ink, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(ink)
    figure.tight_layout()
    return figure
