"""Two runs on the same cases: difference, tests, effect size, and a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .runs import BETTER, Run

MEAN = "mean of labels"
"""What the mean over labels of each case is called where a label's name stands."""


@dataclass(frozen=True)
class Paired:
    """Two runs by one metric on one label; differences are the second's number less the first's.

    Args:
        metric, label: of what.
        first, second: names of the runs.
        cases: how many both have a number of.
        left_out: how many one of them has no number of.
        means: of the two, on these cases.
        difference: the mean difference.
        interval: its bootstrap 95 % interval (BCa), cases drawn with replacement.
        wilcoxon: p of the two-sided signed-rank test; cases without a difference are left out.
        t_test: p of the two-sided paired t-test.
        wilcoxon_holm, t_test_holm: the same, corrected for all labels and pairs of the metric.
        effect: Cohen's d of paired samples: the mean difference in its standard deviations.
        rank_biserial: the share of signed ranks for the second less that for the first, -1..1.

    A number is NaN where there are fewer than two cases; p is 1 where no case differs.
    """

    metric: str
    label: str
    first: str
    second: str
    cases: int
    left_out: int
    means: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    wilcoxon: float
    t_test: float
    effect: float
    rank_biserial: float
    wilcoxon_holm: float = float("nan")
    t_test_holm: float = float("nan")

    @property
    def better(self) -> str:
        """The run with the better mean; empty where they are the same."""
        if not self.difference or np.isnan(self.difference):
            return ""
        return self.second if (self.difference > 0) == BETTER[self.metric] else self.first


def paired(
    runs: Sequence[Run], metric: str, *, resamples: int = 9999, seed: int = 0
) -> list[Paired]:
    """Every pair of runs, on each label that both have, and on each case's mean of the labels.

    Args:
        runs: two or more, all with the metric.
        metric: one of BETTER.
        resamples: of the bootstrap.
        seed: of it.

    Returns:
        Of each pair the labels, then the mean where there are several labels. p-values of the
        labels are corrected together (Holm), those of the means together.
    """
    rows: list[Paired] = []
    for one, two in combinations(runs, 2):
        labels = [label for label in one.numbers[metric] if label in two.numbers[metric]]
        for label in [*labels, *([MEAN] if len(labels) > 1 else [])]:
            if label == MEAN:
                first, second = shared_means(one, two, metric)
            else:
                first, second = amounts(one, metric, label), amounts(two, metric, label)
            cases = sorted({*first, *second})
            numbers = [[first.get(case, np.nan), second.get(case, np.nan)] for case in cases]
            row = compared(np.array(numbers, np.float64), resamples=resamples, seed=seed)
            row = replace(row, metric=metric, label=label, first=one.name, second=two.name)
            rows.append(row)
    parts = ([row for row in rows if (row.label == MEAN) == of_means] for of_means in (False, True))
    corrected = {(row.label, row.first, row.second): row for part in parts for row in _holm(part)}
    return [corrected[row.label, row.first, row.second] for row in rows]


def compared(numbers: NDArray[np.float64], *, resamples: int = 9999, seed: int = 0) -> Paired:
    """Two columns of numbers of the same cases.

    Args:
        numbers: (cases, 2), NaN where there is none.
        resamples, seed: of the bootstrap.
    """
    known = numbers.reshape(-1, 2)
    known = known[~np.isnan(known).any(axis=1)]
    differences = difference(known[:, 1], known[:, 0])
    nothing = float("nan")
    means = known.mean(axis=0).tolist() if len(known) else [nothing, nothing]
    return Paired(
        *("", "", "", ""),
        cases=len(known),
        left_out=len(numbers) - len(known),
        means=(means[0], means[1]),
        difference=float(differences.mean()) if len(known) else nothing,
        interval=_interval(differences, resamples, seed),
        wilcoxon=_wilcoxon(differences),
        t_test=_t_test(differences),
        effect=_effect(differences),
        rank_biserial=_rank_biserial(differences),
    )


def difference(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """One less two, without the noise of their last bits: 0.9 - 0.8 and 0.8 - 0.7 are a tie."""
    return np.round(one - two, 9)


def amounts(run: Run, metric: str, label: str) -> dict[str, float]:
    """Case -> number; of volume errors without its sign."""
    signed = metric.startswith("volume_error")
    return {
        case: abs(number) if signed else number
        for case, number in run.numbers[metric].get(label, {}).items()
    }


def shared_means(one: Run, two: Run, metric: str) -> tuple[dict[str, float], dict[str, float]]:
    """Of two runs case -> mean over the labels of which both have a number there.

    A mean over each run's own labels would favour the run that missed a label and so has no
    distance of it. NaN where there is no such label.
    """
    labels = [label for label in one.numbers[metric] if label in two.numbers[metric]]
    by_label = [(amounts(one, metric, label), amounts(two, metric, label)) for label in labels]
    means: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for case in sorted({*one.cases, *two.cases}):
        rows = [(a.get(case, np.nan), b.get(case, np.nan)) for a, b in by_label]
        known = [row for row in rows if not np.isnan(row).any()]
        both = np.mean(known, axis=0).tolist() if known else (float("nan"), float("nan"))
        means[0][case], means[1][case] = both
    return means


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of p-values; NaN stays, and is none of them.

    >>> [round(one, 3) for one in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.array(p, dtype=np.float64)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN comes last
    factors = len(order) - np.arange(len(order))
    corrected = values.copy()
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(one) for one in corrected]


def _holm(rows: Sequence[Paired]) -> list[Paired]:
    wilcoxon, t_test = holm([row.wilcoxon for row in rows]), holm([row.t_test for row in rows])
    return [
        replace(row, wilcoxon_holm=one, t_test_holm=two)
        for row, one, two in zip(rows, wilcoxon, t_test, strict=True)
    ]


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    if len(differences) < 2:
        return float("nan")
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def _t_test(differences: NDArray[np.float64]) -> float:
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:  # the same in each case: no spread to measure it by
        return 0.0 if differences.any() else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _effect(differences: NDArray[np.float64]) -> float:
    if len(differences) < 2:
        return float("nan")
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return float("inf") * np.sign(differences[0]) if differences.any() else 0.0
    return float(differences.mean() / spread)


def _rank_biserial(differences: NDArray[np.float64]) -> float:
    if len(differences) < 2:
        return float("nan")
    there = differences[differences != 0]
    if not len(there):
        return 0.0
    ranks = stats.rankdata(np.abs(there))
    return float((ranks[there > 0].sum() - ranks[there < 0].sum()) / ranks.sum())


def _interval(differences: NDArray[np.float64], resamples: int, seed: int) -> tuple[float, float]:
    if len(differences) < 2:
        return (float("nan"), float("nan"))
    if np.ptp(differences) == 0:
        return (float(differences[0]), float(differences[0]))
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return (float(found.low), float(found.high))
