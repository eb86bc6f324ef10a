"""A comparison as tables: for the terminal and Markdown, LaTeX, and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from .friedman import shared_numbers
from .paired import MEAN, Paired, amounts
from .runs import BETTER, Run, shared_cases, shared_labels

_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "nsd": "NSD",
    "hd_mm": "HD, mm",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
    "centre_distance_mm": "centre, mm",
    "volume_error_ml": "volume error, ml",
    "volume_error_percent": "volume error, %",
    "lesion_f1": "lesion F1",
    "panoptic_quality": "panoptic quality",
    "lesion_dice": "lesion Dice",
}


def title(metric: str) -> str:
    """A metric as a heading, with its unit."""
    return _TITLES.get(metric, metric)


def means_table(runs: Sequence[Run], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row per label and run: mean and standard deviation of each metric.

    Over the cases, and of labels, of which all runs have a number: each run's own cases would
    favour the run that missed an organ and so has no distance of it. The last rows are of each
    case's mean over the labels. The standard deviation is that over cases (n - 1), as papers print
    it.
    """
    shared = [label for metric in metrics for label in shared_labels(runs, metric)]
    labels = list(dict.fromkeys(shared))
    rows = []
    for label in [*labels, *([MEAN] if len(labels) > 1 else [])]:
        columns = [_numbers(runs, metric, label) for metric in metrics]
        for place, run in enumerate(runs):
            cells = [
                _mean_and_deviation(numbers[:, place].tolist(), metric)
                for numbers, metric in zip(columns, metrics, strict=True)
            ]
            if any(cells):
                rows.append([label, run.name, *cells])
    return ["label", "run", *(title(metric) for metric in metrics)], rows


def pairs_table(rows: Sequence[Paired]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row per metric, label and pair of runs."""
    heads = ["metric", "label", "runs", "cases", "difference", "95 % interval"]
    heads += ["Wilcoxon p", "t-test p", "d", "better"]
    return heads, [
        [
            title(row.metric),
            row.label,
            f"{row.second} - {row.first}",
            str(row.cases) + (f" ({row.left_out} left out)" if row.left_out else ""),
            _signed(row.difference, row.metric),
            f"{_signed(row.interval[0], row.metric)} to {_signed(row.interval[1], row.metric)}",
            p_value(row.wilcoxon_holm),
            p_value(row.t_test_holm),
            "-" if math.isnan(row.effect) else f"{row.effect:.2f}",
            row.better if row.wilcoxon_holm < 0.05 else "-",
        ]
        for row in rows
    ]


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [_row(heads), "|" + "---|" * len(heads), *(_row(row) for row in rows)]
    return "\n".join([*lines, ""])


def latex(heads: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str) -> str:
    r"""A table environment in LaTeX; it needs the package booktabs.

    >>> print(latex(["a_1", "b"], [["x", "1 %"]], caption="c").splitlines()[4])
    a\_1 & b \\
    """
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}"]
    lines += [r"\toprule", _latex_row(heads), r"\midrule"]
    lines += [_latex_row(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_escaped(caption)}}}", r"\end{table}"]
    return "\n".join([*lines, ""])


def pairs_csv(rows: Sequence[Paired]) -> str:
    """All numbers of the pairs, unrounded; undefined ones are nan."""
    table = io.StringIO(newline="")
    columns = [
        *("metric", "label", "first", "second", "cases", "left_out", "mean_first", "mean_second"),
        *("difference", "interval_low", "interval_high", "wilcoxon_p", "wilcoxon_p_holm"),
        *("t_test_p", "t_test_p_holm", "cohens_d", "rank_biserial"),
    ]
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    for row in rows:
        told = asdict(row)
        means, interval = told.pop("means"), told.pop("interval")
        told |= {"mean_first": means[0], "mean_second": means[1]}
        told |= {"interval_low": interval[0], "interval_high": interval[1]}
        for name, column in (("wilcoxon", "wilcoxon_p"), ("t_test", "t_test_p")):
            told[column] = told.pop(name)
            told[f"{column}_holm"] = told.pop(f"{name}_holm")
        told["cohens_d"] = told.pop("effect")
        writer.writerow(told)
    return table.getvalue()


def _numbers(runs: Sequence[Run], metric: str, label: str) -> NDArray[np.float64]:
    """(cases, runs), of cases of which all have a number."""
    if label == MEAN:
        return shared_numbers(runs, metric)
    by_run = [amounts(run, metric, label) for run in runs]
    rows = [[by_case[case] for by_case in by_run] for case in shared_cases(runs, metric, label)]
    return np.array(rows, dtype=np.float64).reshape(-1, len(runs))


def _mean_and_deviation(numbers: Sequence[float], metric: str) -> str:
    if not numbers:
        return ""
    digits = _digits(metric)
    deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
    told = "" if math.isnan(deviation) else f" ± {deviation:.{digits}f}"
    return f"{np.mean(numbers):.{digits}f}{told}"


def _digits(metric: str) -> int:
    """Decimals: three of what is between 0 and 1, two of the rest."""
    return 3 if BETTER[metric] else 2


def _signed(value: float, metric: str) -> str:
    return "-" if math.isnan(value) else f"{value:+.{_digits(metric) + 1}f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    """Text in LaTeX's own words."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": r"$<$",
        ">": r"$>$",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
    return "".join(special.get(letter, letter) for letter in text)
