"""Ranks of made-up runs whose order is known, and the tables of a comparison."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.comparison.paired import paired
from gridgate.pipeline.comparison.ranking import ranking
from gridgate.pipeline.comparison.runs import Run
from gridgate.pipeline.comparison.tables import (
    latex,
    markdown,
    means_table,
    p_value,
    pairs_csv,
    pairs_table,
)


def three_runs(cases: int = 20) -> list[Run]:
    """Good is above the others in all cases, which differ by chance; its distances are shorter."""
    draw = np.random.default_rng(0)
    base = draw.uniform(0.6, 0.8, cases)
    noise = draw.normal(0, 0.01, cases)
    dice = {"good": base + 0.1, "fair": base + noise, "equal": base - noise}
    names = [f"c{n}" for n in range(cases)]
    return [
        Run(
            name,
            Path(name),
            {
                "dice": {"a": dict(zip(names, values.tolist(), strict=True))},
                "hd95_mm": {"a": dict(zip(names, (10 * (1 - values)).tolist(), strict=True))},
            },
        )
        for name, values in dice.items()
    ]


@pytest.mark.parametrize("metrics", [["dice"], ["hd95_mm"], ["dice", "hd95_mm"]])
def test_who_beats_the_others_is_first(metrics: list[str]) -> None:
    runs = three_runs()
    first, *rest = ranking([runs[1], runs[0], runs[2]], metrics, samples=20)
    assert (first.name, first.rank, first.wins, first.firsts) == ("good", 1.0, 2.0, 1.0)
    assert first.interval == (1.0, 1.0)
    assert [one.rank for one in rest] == [2.5, 2.5] and [one.wins for one in rest] == [0.0, 0.0]


def test_runs_that_are_the_same_share_the_places() -> None:
    run = three_runs()[0]
    again = Run("again", Path("again"), run.numbers)
    found = ranking([run, again], ["dice"], samples=10)
    assert [one.rank for one in found] == [1.5, 1.5]
    assert [one.firsts for one in found] == [1.0, 1.0]


def test_cases_that_one_has_no_number_of_are_left_out() -> None:
    runs = three_runs()
    few = {"a": {"c0": 0.1, "c1": math.nan}}
    runs[1] = Run("fair", Path("fair"), {"dice": few})
    with pytest.raises(ConfigError, match="nothing to rank"):
        ranking(runs, ["dice"])


def test_means_are_those_of_numpy() -> None:
    runs = three_runs()
    heads, rows = means_table(runs, ["dice", "hd95_mm"])
    assert heads == ["label", "run", "Dice", "HD95, mm"]
    values = list(runs[0].numbers["dice"]["a"].values())
    assert rows[0] == [
        "a",
        "good",
        f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}",
        f"{10 * (1 - np.mean(values)):.2f} ± {10 * np.std(values, ddof=1):.2f}",
    ]
    assert len(rows) == 3


def test_latex_has_a_row_per_row_and_no_bare_signs() -> None:
    heads, rows = means_table(three_runs(), ["dice"])
    text = latex(["a_b", *heads[1:]], rows, caption="100 % & more")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(rows)
    for line, row in zip(body, rows, strict=True):
        assert line.endswith(r" \\")
        cells = line.removesuffix(r" \\").split(" & ")
        assert [cell.replace(r"$\pm$", "±") for cell in cells] == row
    assert r"a\_b" in text and r"100 \% \& more" in text


def test_markdown_and_csv_hold_the_numbers() -> None:
    rows = paired(three_runs(), "dice", resamples=50)
    heads, cells = pairs_table(rows)
    lines = markdown(heads, cells).strip().splitlines()
    assert len(lines) == 2 + len(rows) and all(line.count("|") == len(heads) + 1 for line in lines)
    assert cells[0][2] == "fair - good" and cells[0][-1] == "good" and cells[2][-1] == "-"
    table = list(csv.DictReader(io.StringIO(pairs_csv(rows))))
    assert [float(row["wilcoxon_p_holm"]) for row in table] == [row.wilcoxon_holm for row in rows]
    assert [float(row["difference"]) for row in table] == [row.difference for row in rows]
    assert float(table[0]["interval_low"]) == rows[0].interval[0]


def test_p_values_as_papers_print_them() -> None:
    assert [p_value(p) for p in (0.0001, 0.0123, 1.0, math.nan)] == [
        "< 0.001",
        "0.012",
        "1.000",
        "-",
    ]
