"""Paired statistics against scipy, published corrections, and counting by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gridgate.pipeline.comparison.paired import MEAN, compared, holm, paired
from gridgate.pipeline.comparison.runs import Run


def run_of(name: str, numbers: dict[str, dict[str, float]], metric: str = "dice") -> Run:
    """A run of one metric: label -> case -> number."""
    return Run(name, Path(name), {metric: numbers})


def drawn(seed: int, cases: int = 25) -> np.ndarray:
    """Two columns of Dice that differ a little."""
    draw = np.random.default_rng(seed)
    first = draw.uniform(0.7, 0.95, cases)
    return np.stack([first, first + draw.normal(0.01, 0.02, cases)], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_p_values_are_scipys(seed: int) -> None:
    numbers = drawn(seed)
    found = compared(numbers)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(numbers[:, 1], numbers[:, 0]).pvalue)
    assert found.t_test == pytest.approx(stats.ttest_rel(numbers[:, 1], numbers[:, 0]).pvalue)
    assert found.difference == pytest.approx(numbers[:, 1].mean() - numbers[:, 0].mean())
    assert found.means == pytest.approx(tuple(numbers.mean(axis=0)))
    assert (found.cases, found.left_out) == (25, 0)


def test_effect_sizes_by_hand() -> None:
    """Differences 1, 2, -3, 4: mean 1, variance 26/3; ranks 1, 2, 3, 4, of which 3 is against."""
    found = compared(np.array([[0.0, 1.0], [0.0, 2.0], [0.0, -3.0], [0.0, 4.0]]))
    assert found.effect == pytest.approx(1 / math.sqrt(26 / 3))
    assert found.rank_biserial == pytest.approx((1 + 2 + 4 - 3) / 10)


def test_the_interval_is_that_of_the_mean() -> None:
    """Of 400 normal differences it is about the mean +- 1.96 standard errors."""
    draw = np.random.default_rng(0)
    differences = draw.normal(0.5, 2.0, 400)
    found = compared(np.stack([np.zeros(400), differences], axis=1))
    error = differences.std(ddof=1) / 20
    low, high = differences.mean() - 1.96 * error, differences.mean() + 1.96 * error
    assert found.interval == pytest.approx((low, high), abs=0.15 * error)
    assert compared(np.stack([np.zeros(400), differences], axis=1)).interval == found.interval


def test_cases_without_a_number_are_left_out() -> None:
    nan = math.nan
    numbers = np.array([[0.5, 0.6], [nan, 0.4], [0.3, nan], [0.7, 0.9]])
    found = compared(numbers)
    assert (found.cases, found.left_out) == (2, 2)
    assert found.difference == pytest.approx(0.15)


def test_nothing_differs_or_all_by_the_same() -> None:
    same = compared(np.array([[0.5, 0.5], [0.6, 0.6], [0.7, 0.7]]))
    assert (same.wilcoxon, same.t_test, same.effect, same.rank_biserial) == (1.0, 1.0, 0.0, 0.0)
    assert same.interval == (0.0, 0.0) and same.difference == 0
    shifted = compared(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert (shifted.t_test, shifted.effect, shifted.rank_biserial) == (0.0, math.inf, 1.0)
    one = compared(np.array([[0.5, 0.6]]))
    assert math.isnan(one.wilcoxon) and math.isnan(one.t_test) and one.cases == 1
    none = compared(np.zeros((0, 2)))
    assert none.cases == 0 and math.isnan(none.difference) and all(map(math.isnan, none.means))


def test_holm_by_hand() -> None:
    """0.01 x 4, then 0.02 x 3 = 0.06, which 0.03 x 2 and 0.04 x 1 may not be below."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    found = holm([0.01, math.nan, 0.03])
    assert found[0] == pytest.approx(0.02) and math.isnan(found[1])
    assert found[2] == pytest.approx(0.03)
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers(p: list[float]) -> None:
    found = holm(p)
    assert all(after >= before for before, after in zip(p, found, strict=True))
    assert max(found) <= 1.0
    order = np.argsort(p, kind="stable")
    assert all(np.diff(np.array(found)[order]) >= 0)


def test_pairs_labels_and_corrections() -> None:
    """Three runs, two labels: six tests of labels are corrected together, three of means."""
    tables = [drawn(seed) for seed in range(4)]
    cases = [f"c{n}" for n in range(25)]

    def numbers(column: int, *which: int) -> dict[str, dict[str, float]]:
        return {
            label: dict(zip(cases, tables[n][:, column].tolist(), strict=True))
            for label, n in zip(("a", "b"), which, strict=True)
        }

    runs = [
        run_of("x", numbers(0, 0, 1)),
        run_of("y", numbers(1, 0, 1)),
        run_of("z", numbers(1, 2, 3)),
    ]
    rows = paired(runs, "dice", resamples=50)
    told = [(row.first, row.second, row.label) for row in rows]
    pairs = [("x", "y"), ("x", "z"), ("y", "z")]
    assert told == [(*pair, label) for pair in pairs for label in ("a", "b", MEAN)]
    labels = [row for row in rows if row.label != MEAN]
    corrected = holm([row.wilcoxon for row in labels])
    assert [row.wilcoxon_holm for row in labels] == pytest.approx(corrected)
    means = [row for row in rows if row.label == MEAN]
    assert [row.t_test_holm for row in means] == pytest.approx(holm([row.t_test for row in means]))
    both = (tables[0] + tables[1]) / 2
    assert rows[2].wilcoxon == pytest.approx(stats.wilcoxon(both[:, 1], both[:, 0]).pvalue)


def test_a_run_that_missed_a_label_is_not_favoured_by_it() -> None:
    """Distances 2 and 8 against 3 and none: of a alone x is better by 1, in both cases."""
    nan = math.nan
    runs = [
        run_of("x", {"a": {"c1": 2.0, "c2": 2.0}, "b": {"c1": 8.0, "c2": 8.0}}, "hd95_mm"),
        run_of("y", {"a": {"c1": 3.0, "c2": 3.0}, "b": {"c1": nan, "c2": nan}}, "hd95_mm"),
    ]
    row = next(row for row in paired(runs, "hd95_mm", resamples=50) if row.label == MEAN)
    assert row.means == (2.0, 3.0) and row.better == "x"


def test_volume_errors_count_as_amounts_and_less_is_better() -> None:
    runs = [
        run_of("x", {"a": {"c1": -3.0, "c2": 2.0, "c3": -4.0}}, "volume_error_ml"),
        run_of("y", {"a": {"c1": 1.0, "c2": -1.0, "c3": 2.0}}, "volume_error_ml"),
    ]
    (row,) = paired(runs, "volume_error_ml", resamples=50)
    assert row.means == pytest.approx((3.0, 4 / 3)) and row.better == "y"
    runs = [run_of("x", {"a": {"c1": 0.3, "c2": 0.2}}), run_of("y", {"a": {"c1": 0.1, "c2": 0.2}})]
    assert paired(runs, "dice", resamples=50)[0].better == "x"


def test_equal_differences_are_ties_whatever_their_last_bits() -> None:
    """0.9 - 0.8 is not 0.8 - 0.7 in binary; as whole hundredths they are the same."""
    random = np.random.default_rng(106)
    first = random.integers(60, 90, 12)
    second = first + random.integers(-2, 4, 12)
    found = compared(np.stack([first, second], 1) / 100, resamples=50)
    assert found.wilcoxon == stats.wilcoxon(second - first).pvalue
    constant = compared(np.array([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4], [0.7, 0.8]]), resamples=50)
    assert constant.effect == math.inf and constant.interval == pytest.approx((0.1, 0.1))
