"""How the time of a fit is divided: what is left when all else is paid goes into the trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..planning.measures.pace import Pace

_STARTING = 3.0  # seconds of an evaluation before its first case
_READING = 0.4  # seconds of a case beside its windows: reading, the way back, measuring, writing
_ENDING = 10.0  # seconds of the last steps, and per case:
_ENDING_CASE = 0.25
_ENDING_VOXEL = 1.2e-8  # and of each voxel and label: measuring what is left of pieces
_PLANNING = 0.08  # of the time for each network, as long as it is not known
_ALL_PLANNING = 0.2  # and for all of them, however many


@dataclass(frozen=True)
class Remaining:
    """What a fit still has to do when a training begins.

    Args:
        seconds: until the time is up.
        trainings: that are not done, this one included.
        evaluations: of folds that are not done.
        cases: of the dataset.
        folds: of the dataset.
        ending: seconds of what follows the last evaluation.
    """

    seconds: float
    trainings: int
    evaluations: int
    cases: int
    folds: int
    ending: float

    def training_seconds(self, pace: Pace, evaluated: Sequence[float] = ()) -> float:
        """Seconds for this training.

        Args:
            pace: of the trainings.
            evaluated: seconds that evaluations took.
        """
        guess = evaluation_seconds(pace, self.cases, self.folds)
        each = sum(evaluated) / len(evaluated) if evaluated else guess
        left = self.seconds - self.evaluations * each - self.ending
        return left / max(self.trainings, 1)


def evaluation_seconds(pace: Pace, cases: int, folds: int) -> float:
    """Seconds of the evaluation of one fold, before one was seen."""
    return _STARTING + ceil(cases / folds) * (pace.case + _READING)


def ending(cases: int, voxels: float = 0.0) -> float:
    """Seconds of what follows the last evaluation, about.

    Args:
        cases: of the dataset.
        voxels: of all cases, each counted as often as there are labels.
    """
    return _ENDING + _ENDING_CASE * cases + _ENDING_VOXEL * voxels


def planning(seconds: float, networks: int) -> float:
    """Seconds of check and plan, as long as they are not known."""
    return min(_PLANNING * networks, _ALL_PLANNING) * seconds


def first_guess(seconds: float, networks: int, folds: int) -> float:
    """Seconds of a training, before anything is measured: what a plan is made for."""
    return (seconds - planning(seconds, networks)) * 0.85 / (networks * folds)


def corrected(pace: Pace, expected: float, took: float) -> Pace:
    """The pace as trainings really went.

    Args:
        expected: seconds that a training should have taken.
        took: seconds that it took.
    """
    ratio = min(max(took / expected, 0.5), 3.0) if expected > 0 else 1.0
    return replace(
        pace,
        iteration=pace.iteration * ratio,
        validation=pace.validation * ratio,
        reading=pace.reading * ratio,
    )
