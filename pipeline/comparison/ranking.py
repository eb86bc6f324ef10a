"""Runs ranked as the Decathlon did: by how many others each is significantly better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ...data.errors import ConfigError
from ...data.progress import progressed
from .paired import amounts, difference, holm
from .runs import BETTER, Run, shared_cases, shared_labels

LEVEL = 0.05
"""What a p-value has to be below."""


@dataclass(frozen=True)
class Ranked:
    """A run's place.

    Args:
        name: of the run.
        rank: the mean, over labels and metrics, of its places by wins; 1 is the best, places that
            are shared are the mean of those places.
        wins: how many of the others it is significantly better than, the mean over labels and
            metrics.
        firsts: share of the bootstrap samples in which no other has a lower rank.
        interval: 2.5th and 97.5th percentile of its rank over them.
    """

    name: str
    rank: float
    wins: float
    firsts: float
    interval: tuple[float, float]


def ranking(
    runs: Sequence[Run], metrics: Sequence[str], *, samples: int = 200, seed: int = 0
) -> list[Ranked]:
    """The runs, best first.

    Of each label and metric every run is tested against every other by the one-sided Wilcoxon
    signed-rank test on the cases that all have a number of, corrected for the number of tests
    (Holm); its place there is by how many it beats at p < 0.05. Paper: Antonelli et al. 2022, The
    Medical Segmentation Decathlon (arXiv 2106.05735), whose bootstrap draws the cases again.

    Args:
        runs: two or more.
        metrics: some of BETTER that all have.
        samples: of the bootstrap.
        seed: of it.

    Raises:
        ConfigError: there is no label that all runs measured in two cases.
    """
    tables = _tables(runs, metrics)
    if not tables:
        raise ConfigError(
            "the runs have no label of which all have a number in two cases or more: nothing to "
            "rank them by"
        )
    wins = np.array([_wins(table) for table in tables], dtype=np.float64).reshape(-1, len(runs))
    ranks = _mean_ranks(wins)
    draw = np.random.default_rng(seed)
    spread = np.zeros((samples, len(runs)))
    for table in progressed(tables, len(tables), "ranking"):
        drawn = draw.integers(0, table.shape[1], (samples, table.shape[1]))
        spread += stats.rankdata(-_drawn_wins(table, drawn), method="average", axis=1)
    spread /= len(tables)
    low, high = np.percentile(spread, (2.5, 97.5), axis=0) if samples else (ranks, ranks)
    firsts = (spread == spread.min(axis=1, keepdims=True)).mean(axis=0) if samples else ranks * 0
    found = [
        Ranked(
            run.name,
            float(ranks[n]),
            float(wins[:, n].mean()),
            float(firsts[n]),
            (float(low[n]), float(high[n])),
        )
        for n, run in enumerate(runs)
    ]
    return sorted(found, key=lambda one: one.rank)


def _tables(runs: Sequence[Run], metrics: Sequence[str]) -> list[NDArray[np.float64]]:
    """Of each metric and label with two cases (runs, cases) or more, more being better."""
    tables = []
    for metric in metrics:
        for label in shared_labels(runs, metric):
            by_run = [amounts(run, metric, label) for run in runs]
            cases = shared_cases(runs, metric, label)
            if len(cases) > 1:
                table = np.array([[by_case[case] for case in cases] for by_case in by_run])
                tables.append(table if BETTER[metric] else -table)
    return tables


def _wins(table: NDArray[np.float64]) -> list[int]:
    """How many others each run (a row) is significantly better than."""
    count = len(table)
    pairs = [(one, two) for one in range(count) for two in range(count) if one != two]
    p = holm([_beats(difference(table[one], table[two])) for one, two in pairs])
    won = [0] * count
    for (one, _), value in zip(pairs, p, strict=True):
        won[one] += value < LEVEL
    return won


def _beats(differences: NDArray[np.float64]) -> float:
    """P of the one-sided test that the differences are above 0, exact where there are few."""
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, alternative="greater").pvalue)


def _drawn_wins(table: NDArray[np.float64], drawn: NDArray[np.intp]) -> NDArray[np.float64]:
    """(samples, runs): as `_wins`, of the cases that each sample has drawn.

    By the normal approximation, all samples at once: cases that are drawn twice are ties, for which
    scipy's exact test tries all signs. No p is below that of the exact test in which all signs are
    the same, which few cases cannot get below either.

    Args:
        table: (runs, cases), more being better.
        drawn: (samples, cases), indices of cases.
    """
    count = len(table)
    p = np.ones((len(drawn), count, count))
    for one in range(count):
        for two in range(one + 1, count):
            differences = difference(table[one], table[two])[drawn]
            p[:, one, two], p[:, two, one] = _signed_rank_p(differences)
    apart = ~np.eye(count, dtype=bool)
    p[:, apart] = _holm_rows(p[:, apart])
    return np.asarray((p < LEVEL).sum(axis=2), dtype=np.float64)


def _signed_rank_p(
    differences: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each row p that its differences are above 0, and that they are below; zeros are left out.

    Paper: Wilcoxon, Biometrics Bulletin 1, 80-83, 1945; ties as in scipy's approximation.
    """
    sizes = np.abs(differences)
    there = sizes > 0
    zeros = (~there).sum(axis=1, keepdims=True)
    count = there.sum(axis=1)
    ranks = stats.rankdata(sizes, axis=1) - zeros
    above = np.where(differences > 0, ranks, 0).sum(axis=1)
    tied = stats.rankdata(sizes, "max", axis=1) - stats.rankdata(sizes, "min", axis=1) + 1
    ties = np.where(there, tied**2 - 1, 0).sum(axis=1)
    mean, whole = count * (count + 1) / 4, count * (count + 1) * (2 * count + 1) / 24
    spread = np.sqrt(whole - ties / 48)
    z = np.divide(above - mean, spread, out=np.zeros_like(spread), where=spread > 0)
    least = 0.5**count
    return np.maximum(stats.norm.sf(z), least), np.maximum(stats.norm.cdf(z), least)


def _holm_rows(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """`holm` of each row."""
    order = np.argsort(p, axis=1)
    factors = p.shape[1] - np.arange(p.shape[1])
    ordered = np.take_along_axis(p, order, axis=1) * factors
    corrected = np.empty_like(p)
    found = np.minimum(np.maximum.accumulate(ordered, axis=1), 1.0)
    np.put_along_axis(corrected, order, found, axis=1)
    return corrected


def _mean_ranks(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean place of each run over tables, of wins (tables, runs); the most wins are place 1."""
    return stats.rankdata(-wins, method="average", axis=1).mean(axis=0)
