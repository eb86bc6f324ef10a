"""How long each training of a fit is: as the time allows, by what the steps so far have taken."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...data.errors import ConfigError
from ..planning.decisions.decision import length
from ..planning.measures.pace import Pace
from .candidate import Candidate
from .record import FitRecord
from .request import FitRequest
from .schedule import Remaining, corrected, ending, planning

logger = logging.getLogger(__name__)
_LEAST = 0.5  # of a network's longest training: what its others have in any case


@dataclass(frozen=True)
class Lengths:
    """The trainings' lengths.

    With `deterministic` each is what the plan's measurement says, so that no length depends on how
    fast the machine was meanwhile.

    Args:
        request: of the fit.
        record: its steps so far.
        candidates: its networks.
    """

    request: FitRequest
    record: FitRecord
    candidates: Sequence[Candidate]

    def settings(self, candidate: Candidate) -> dict[str, Any]:
        """Of the next training of a candidate: epochs, iterations, warm-up, validations.

        Raises:
            ConfigError: the time is too short for a training.
        """
        pace = self.pace(candidate)
        if self.request.iterations is not None:
            return candidate.length_of(pace, self.request.iterations)
        seconds = self._remaining().training_seconds(pace, self._took())
        least = self._least(candidate, pace)
        try:
            found = candidate.length_for(pace, seconds)
        except ConfigError:
            if not least:
                raise
            found = None
        if found is not None and iterations(found) >= least:
            return found
        found = candidate.length_of(pace, least)
        more = candidate.seconds(pace, found) - max(seconds, 0.0)
        logger.warning(
            f"{candidate.name}: the time is nearly up. The next training has half of the "
            f"{self._whose(candidate)}, and takes about {length(more)} longer than there is"
        )
        return found

    def ending(self) -> float:
        """Seconds of what follows the last evaluation."""
        return ending(self.candidates[0].cases, self.candidates[0].measured_voxels())

    def seconds(self, candidate: Candidate, settings: dict[str, Any]) -> float:
        """That a training with these settings takes."""
        return candidate.seconds(self.pace(candidate), settings)

    def pace(self, candidate: Candidate) -> Pace:
        """As planned; or as the candidate's last training really went."""
        pace = candidate.pace()
        if self.request.deterministic:
            return pace
        for fold in reversed(range(self.request.folds)):
            step = self.record.step(step_name("train", candidate.name, fold))
            if step.done:
                made = candidate.made(fold, step.facts["settings"])
                return corrected(pace, candidate.seconds(pace, made), step.seconds)
        return pace

    def _remaining(self) -> Remaining:
        if self.request.deterministic:
            spent = planning(self.request.seconds, len(self.candidates))
            trainings = len(self._steps("train"))
            evaluations = sum(name.count("+") + 1 for name in self._steps("evaluate"))
        else:
            spent = self.record.spent
            trainings, evaluations = self._left("train"), self._left("evaluate")
        left = self.request.seconds - spent
        cases, folds = self.candidates[0].cases, self.request.folds
        return Remaining(left, trainings, evaluations, cases, folds, self.ending())

    def _least(self, candidate: Candidate, pace: Pace) -> int:
        """Iterations that its next training has in any case; 0 where no training has begun.

        Half of its own longest. Of a network of which none has begun: what takes half of the time
        of the other networks' longest, as planned, so that what they have done is not lost.
        """
        if own := self._made(candidate):
            return int(_LEAST * max(own))
        planned = [
            one.seconds(one.pace(), settings)
            for one in self.candidates
            for settings in self._begun(one)
        ]
        if not planned:
            return 0
        return max(int((_LEAST * max(planned) - pace.reading) / pace.iteration), 1)

    def _whose(self, candidate: Candidate) -> str:
        if self._made(candidate):
            return "iterations of the longest before"
        return "time of the other networks' longest"

    def _made(self, candidate: Candidate) -> list[int]:
        """Iterations that the candidate's trainings so far were to have."""
        return [iterations(settings) for settings in self._begun(candidate)]

    def _begun(self, candidate: Candidate) -> list[dict[str, Any]]:
        """Settings of the candidate's trainings so far."""
        steps = [
            self.record.step(step_name("train", candidate.name, fold))
            for fold in range(self.request.folds)
        ]
        return [step.facts["settings"] for step in steps if "settings" in step.facts]

    def _took(self) -> list[float]:
        """Seconds of the evaluations so far."""
        if self.request.deterministic:
            return []
        steps = [self.record.step(name) for name in self._steps("evaluate")]
        return [step.seconds for step in steps if step.done]

    def _left(self, what: str) -> int:
        """How many are not done; that of all networks together counts as one of each."""
        left = [name for name in self._steps(what) if not self.record.step(name).done]
        return sum(name.count("+") + 1 for name in left)

    def _steps(self, what: str) -> list[str]:
        names = [one.name for one in self.candidates]
        if what == "evaluate" and len(names) > 1:
            names.append(together_name(self.candidates))
        return [step_name(what, name, fold) for name in names for fold in range(self.request.folds)]


def iterations(settings: dict[str, Any]) -> int:
    """Of a training with these settings."""
    return int(settings["epochs"] * settings["iterations_per_epoch"])


def together_name(candidates: Sequence[Candidate]) -> str:
    """The name of several networks as one."""
    return "+".join(one.name for one in candidates)


def step_name(what: str, network: str, fold: int) -> str:
    """The name of a fold's step in the record."""
    return f"{what} {network} {fold}"
