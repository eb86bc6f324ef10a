"""Runs ranked as the Decathlon did: by how many others each is significantly better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ...data.errors import ConfigError
from .paired import amounts, holm
from .runs import BETTER, Run

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
    drawn = []
    for _ in range(samples):
        again = [table[:, draw.integers(0, table.shape[1], table.shape[1])] for table in tables]
        drawn.append(_mean_ranks(np.array([_wins(table) for table in again], dtype=np.float64)))
    spread = np.array(drawn).reshape(-1, len(runs))
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
        for label in runs[0].numbers[metric]:
            by_run = [amounts(run, metric, label) for run in runs]
            cases = [
                case
                for case in sorted(by_run[0])
                if all(not np.isnan(by_case.get(case, np.nan)) for by_case in by_run)
            ]
            if len(cases) > 1:
                table = np.array([[by_case[case] for case in cases] for by_case in by_run])
                tables.append(table if BETTER[metric] else -table)
    return tables


def _wins(table: NDArray[np.float64]) -> list[int]:
    """How many others each run (a row) is significantly better than."""
    count = len(table)
    pairs = [(one, two) for one in range(count) for two in range(count) if one != two]
    p = holm([_beats(table[one] - table[two]) for one, two in pairs])
    won = [0] * count
    for (one, _), value in zip(pairs, p, strict=True):
        won[one] += value < LEVEL
    return won


def _beats(differences: NDArray[np.float64]) -> float:
    """P of the one-sided test that the differences are above 0.

    By the normal approximation: cases that are drawn twice are ties, for which scipy's exact test
    tries all signs.
    """
    if not differences.any():
        return 1.0
    found = stats.wilcoxon(differences, alternative="greater", method="approx")
    return float(found.pvalue)


def _mean_ranks(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean place of each run over tables, of wins (tables, runs); the most wins are place 1."""
    return stats.rankdata(-wins, method="average", axis=1).mean(axis=0)
