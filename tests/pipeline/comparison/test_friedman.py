"""Mean ranks by hand, Nemenyi's p by its formula, and the diagram of both."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gridgate.data.errors import ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.comparison.friedman import Ranks, friedman_ranks, shared_numbers
from gridgate.pipeline.comparison.paired import paired
from gridgate.pipeline.comparison.ranking import ranking
from gridgate.pipeline.comparison.runs import Run
from gridgate.pipeline.reports.comparison_page import Compared, comparison_page

pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")

TABLE = {  # of four cases
    "one": [0.9, 0.8, 0.7, 0.6],
    "two": [0.8, 0.9, 0.6, 0.6],
    "three": [0.1, 0.2, 0.3, 0.7],
}


def runs(table: dict[str, list[float]], metric: str = "dice") -> list[Run]:
    return [
        Run(
            name,
            Path(name),
            {metric: {"a": {f"c{n}": value for n, value in enumerate(values)}}},
        )
        for name, values in table.items()
    ]


def test_ranks_are_those_that_one_counts() -> None:
    found = friedman_ranks(runs(TABLE), "dice")
    assert found is not None and found.cases == 4
    # per case: 1 2 3, 2 1 3, 1 2 3, 2.5 2.5 1
    assert found.mean == (6.5 / 4, 7.5 / 4, 10 / 4)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*TABLE.values()).pvalue)
    distances = friedman_ranks(runs(TABLE, "hd95_mm"), "hd95_mm")
    assert distances is not None and distances.mean == (9.5 / 4, 8.5 / 4, 6 / 4)


def test_nemenyi_is_its_formula() -> None:
    table = np.random.default_rng(0).normal([0, 0.2, 0.8, 1.5], size=(30, 4))
    found = friedman_ranks(
        runs({str(n): column.tolist() for n, column in enumerate(table.T)}), "dice"
    )
    assert found is not None
    cases, count = table.shape
    for i in range(count):
        for j in range(count):
            q = abs(found.mean[i] - found.mean[j]) / math.sqrt(count * (count + 1) / (6 * cases))
            want = 1.0 if i == j else stats.studentized_range.sf(q * math.sqrt(2), count, np.inf)
            assert found.nemenyi[i, j] == pytest.approx(want, abs=1e-6)


def test_only_cases_and_labels_that_all_have_count() -> None:
    one, two, three = runs(TABLE)
    two.numbers["dice"]["a"]["c1"] = float("nan")
    for run in (one, three):
        run.numbers["dice"]["b"] = dict.fromkeys(("c0", "c2"), 1.0)
    found = shared_numbers([one, two, three], "dice")
    np.testing.assert_array_equal(found, [[0.9, 0.8, 0.1], [0.7, 0.6, 0.3], [0.6, 0.6, 0.7]])
    del two.numbers["dice"]["a"]["c0"]
    assert friedman_ranks([one, two, three], "dice") is None  # two cases
    assert friedman_ranks([one, three], "dice") is None


def test_runs_that_are_alike_are_not_told_apart() -> None:
    found = friedman_ranks(runs({name: [0.1, 0.5, 0.4] for name in "abc"}), "dice")
    assert found is not None and found.friedman == 1 and found.mean == (2, 2, 2)
    assert (found.nemenyi > 0.99).all()


def page_of(tmp_path: Path, given: list[Run]) -> str:
    pairs = paired(given, "dice", resamples=99)
    compared = Compared(given, ["dice"], pairs, ranking(given, ["dice"], samples=9), pictures=0)
    with OutputFolder(tmp_path / "C") as output:
        return comparison_page(compared, output).decode()


def test_the_page_has_the_diagram_of_three_runs_or_more(tmp_path: Path) -> None:
    many = runs({name: values * 3 for name, values in TABLE.items()})
    text = page_of(tmp_path, many)
    assert "Critical-difference diagram" in text and "Nemenyi" in text and "over 12 cases" in text
    assert (tmp_path / "C" / "pictures" / "critical_difference.png").is_file()
    assert "Critical-difference" not in page_of(tmp_path, many[:2])


def test_without_the_package_the_page_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    assert "gridgate[statistics]" in page_of(tmp_path, runs(TABLE))
    with pytest.raises(ConfigError, match="pip install"):
        friedman_ranks(runs(TABLE), "dice")


def test_bars_join_those_that_are_not_told_apart() -> None:
    from gridgate.pipeline.reports.pictures.critical_difference import critical_difference_figure

    apart = np.array([[1, 0.5, 0.01], [0.5, 1, 0.01], [0.01, 0.01, 1.0]])
    ranks = Ranks("dice", ("a", "b", "$c$"), (1.2, 1.8, 3.0), 20, 0.001, apart)
    bars = {
        "some": critical_difference_figure(ranks),
        "none": critical_difference_figure(replace(ranks, nemenyi=np.eye(3))),
    }
    blue = {
        name: [
            line.get_xdata() for line in figure.axes[0].get_lines() if line.get_color() == "#4f8fd8"
        ]
        for name, figure in bars.items()
    }
    assert [sorted(map(float, line)) for line in blue["some"]] == [[1.2, 1.8]] and not blue["none"]
