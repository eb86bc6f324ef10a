"""How long each training of a fit is: as the time allows, by what the steps so far have taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..planning.measures.pace import Pace
from .candidate import Candidate
from .record import FitRecord
from .request import FitRequest
from .schedule import Remaining, corrected


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
        return candidate.length_for(pace, self._remaining().training_seconds(pace, self._took()))

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
                expected = candidate.seconds(pace, step.facts["settings"])
                return corrected(pace, expected, step.seconds)
        return pace

    def _remaining(self) -> Remaining:
        if self.request.deterministic:
            begun = [name for name in self.record.steps if name.startswith(("check", "plan"))]
            spent = sum(self.record.step(name).seconds for name in begun)
            trainings = len(self._steps("train"))
            evaluations = sum(name.count("+") + 1 for name in self._steps("evaluate"))
        else:
            spent = self.record.spent
            trainings, evaluations = self._left("train"), self._left("evaluate")
        left = self.request.seconds - spent
        cases = self.candidates[0].cases
        return Remaining(left, trainings, evaluations, cases, self.request.folds)

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


def together_name(candidates: Sequence[Candidate]) -> str:
    """The name of several networks as one."""
    return "+".join(one.name for one in candidates)


def step_name(what: str, network: str, fold: int) -> str:
    """The name of a fold's step in the record."""
    return f"{what} {network} {fold}"
