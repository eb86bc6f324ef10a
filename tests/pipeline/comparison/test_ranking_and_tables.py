"""Ranks of made-up runs whose order is known, and the tables of a comparison."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gridgate.data.errors import ConfigError
from gridgate.pipeline.comparison.paired import holm, paired
from gridgate.pipeline.comparison.ranking import _holm_rows, _signed_rank_p, _wins, ranking
from gridgate.pipeline.comparison.runs import Run, labels_left_out
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


def cells(runs: list[Run], metric: str) -> dict[tuple[str, str], float]:
    """(label, run) -> mean, as the table prints it."""
    _, rows = means_table(runs, [metric])
    return {(label, name): float(cell.split(" ")[0]) for label, name, cell in rows}


def named(name: str, metric: str, numbers: dict[str, list[float]]) -> Run:
    by_label = {
        label: {f"c{n}": value for n, value in enumerate(values)}
        for label, values in numbers.items()
    }
    return Run(name, Path(name), {metric: by_label})


def test_means_are_over_what_all_runs_have() -> None:
    """A run is not worse by its mean for the organs, the cases or the labels that others lack."""
    nan = math.nan
    a = named("a", "hd95_mm", {"liver": [2.0] * 6, "pancreas": [20.0] * 3 + [nan] * 3})
    b = named("b", "hd95_mm", {"liver": [1.0] * 6, "pancreas": [15.0] * 3 + [30.0] * 3})
    found = cells([a, b], "hd95_mm")
    assert found["pancreas", "b"] == 15.0
    # (11 x 3 + 2 x 3) / 6 and (8 x 3 + 1 x 3) / 6
    assert (found["mean of labels", "a"], found["mean of labels", "b"]) == (6.5, 4.5)

    many = named("many", "dice", {"liver": [0.9] * 3 + [0.5] * 17})
    few = named("few", "dice", {"liver": [0.9] * 3})
    found = cells([many, few], "dice")
    assert found["liver", "many"] == found["liver", "few"] == 0.9

    more = named("more", "dice", {"liver": [0.8] * 3, "aorta": [0.4] * 3, "spleen": [0.8] * 3})
    less = named("less", "dice", {"liver": [0.7] * 3, "spleen": [0.7] * 3})
    found = cells([more, less], "dice")
    assert found["mean of labels", "more"] == 0.8 and ("aorta", "more") not in found
    assert labels_left_out([more, less], ["dice"]) == [
        "more: not compared, as not all runs have it: aorta"
    ]


@pytest.mark.parametrize("steps", [[0.02] * 4, [0.01, 0.02, 0.03, 0.04, 0.05]])
def test_few_cases_beat_nobody(steps: list[float]) -> None:
    """Of five cases the exact p is 1/32 at the least, and two tests were made."""
    base = np.full(len(steps), 0.5)
    table = np.stack([base + steps, base])
    assert _wins(table) == [0, 0]
    first, _ = ranking(
        [named(n, "dice", {"a": v.tolist()}) for n, v in zip("xy", table, strict=True)],
        ["dice"],
        samples=50,
    )
    assert first.rank == 1.5 and first.firsts == 1.0


def test_the_approximation_is_scipys() -> None:
    draw = np.random.default_rng(3)
    rows = np.round(draw.normal(0.01, 0.05, (40, 15)), 2)  # ties and zeros
    above, below = _signed_rank_p(rows)
    for row, up, down in zip(rows, above, below, strict=True):
        for side, p in (("greater", up), ("less", down)):
            known = stats.wilcoxon(row, alternative=side, method="asymptotic").pvalue
            assert p == pytest.approx(max(known, 0.5 ** np.count_nonzero(row)), abs=1e-12)


def test_holm_of_rows_is_holm_of_each() -> None:
    p = np.random.default_rng(1).uniform(0, 0.2, (20, 6))
    for found, row in zip(_holm_rows(p), p, strict=True):
        assert found.tolist() == pytest.approx(holm(row.tolist()))


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
