"""All runs at once: Friedman's test over the cases, and Nemenyi's between each two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ...data.errors import ConfigError
from .paired import amounts
from .runs import BETTER, Run, shared_labels

LEAST_RUNS, LEAST_CASES = 3, 3
EXTRA = "statistics"
"""The extra of gridgate that Nemenyi's test and its diagram need."""


@dataclass(frozen=True)
class Ranks:
    """The runs' ranks over the cases, 1 for the best of a case (Demsar 2006).

    Args:
        metric: of what, the mean of each case's labels.
        runs: names.
        mean: rank of each run, in the mean over the cases.
        cases: that all runs have a number of.
        friedman: p of the test that no run differs from the others.
        nemenyi: (runs, runs) p of each two, corrected for their number.
    """

    metric: str
    runs: tuple[str, ...]
    mean: tuple[float, ...]
    cases: int
    friedman: float
    nemenyi: NDArray[np.float64]


def friedman_ranks(runs: Sequence[Run], metric: str) -> Ranks | None:
    """The ranks of three or more runs; None where there are fewer, or too few shared cases.

    Raises:
        ConfigError: scikit-posthocs is not installed.
    """
    numbers = shared_numbers(runs, metric)
    if len(runs) < LEAST_RUNS or len(numbers) < LEAST_CASES:
        return None
    signs = -numbers if BETTER[metric] else numbers
    ranks = np.asarray(stats.rankdata(signs, axis=1), dtype=np.float64)
    alike = bool((ranks == ranks[:, :1]).all())  # no run differs in any case
    return Ranks(
        metric=metric,
        runs=tuple(run.name for run in runs),
        mean=tuple(float(one) for one in ranks.mean(axis=0)),
        cases=len(numbers),
        friedman=1.0 if alike else float(stats.friedmanchisquare(*numbers.T).pvalue),
        nemenyi=np.asarray(posthocs().posthoc_nemenyi_friedman(numbers), dtype=np.float64),
    )


def shared_numbers(runs: Sequence[Run], metric: str) -> NDArray[np.float64]:
    """(cases, runs): each case's mean over the labels that all runs have a number of there."""
    labels = shared_labels(runs, metric)
    by_label = [[amounts(run, metric, label) for run in runs] for label in labels]
    rows = []
    for case in runs[0].cases:
        found = [[by_case.get(case, np.nan) for by_case in of] for of in by_label]
        known = [row for row in found if not np.isnan(row).any()]
        if known:
            rows.append(np.mean(known, axis=0))
    return np.array(rows, dtype=np.float64).reshape(-1, len(runs))


def posthocs() -> Any:
    """scikit-posthocs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import scikit_posthocs
    except ImportError as error:
        raise ConfigError(
            "the critical-difference diagram is drawn by scikit-posthocs: pip install "
            f"'gridgate[{EXTRA}]'"
        ) from error
    return scikit_posthocs
