"""fit.json: what was asked for, what is done, and how long it took; so that a fit goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ...data.events import listening
from ...data.output_folder import OutputFolder

FILE = "fit.json"
CHECK = "check"
CHANGEABLE = ("seconds",)
"""What may be another when a fit goes on: what has begun keeps its settings."""
CONTENTS = "cases and folds"
"""Name of what identifies the dataset."""
TRAINED = "cases that folds train on"
"""Name of what identifies them; a fit.json of before does not tell it."""
FAILED = "failed"
"""Name of the fact of an evaluation that tells its failed cases, each with the reason."""
_OF_DATASET = {
    CONTENTS: "the dataset's cases, files or folds are others",
    TRAINED: "the cases that the dataset's folds train on are others",
}
_FORMAT = 1
_EVERY = 5.0  # seconds between two notes of the time


@dataclass
class Step:
    """One step of a fit.

    Args:
        seconds: that it has taken so far.
        done: it has ended.
        facts: what was decided when it began, such as a training's settings; kept from then on.
    """

    seconds: float = 0.0
    done: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class FitRecord:
    """The steps of a fit in its folder, each known by a name such as "train attention_unet 0".

    Written when a step begins and ends, and every few seconds while it runs: of a fit that is
    killed, the time until then counts when it goes on.

    Args:
        output: the fit's folder, entered.
        asked: what the user asked for, plain values; the same when the fit goes on, but for what
            is in CHANGEABLE. Until a step after the check has begun it may be another fit.

    Raises:
        ConfigError: the folder has another fit, or fit.json cannot be read.
    """

    def __init__(self, output: OutputFolder, asked: dict[str, Any]) -> None:
        self.output = output
        self.asked = json.loads(json.dumps(asked))  # as it is read again: keys are text
        self.steps: dict[str, Step] = {}
        self._written = 0.0
        path = output.folder / FILE
        if path.is_file():
            before, steps = _read(path)
            if set(steps) <= {CHECK}:  # nothing has come of it
                steps = {} if before != self.asked else steps
            else:
                _refuse_other(path, before, self.asked, steps)
            self.steps = steps
            output.record(FILE)  # also where it was copied, and has another time

    @property
    def spent(self) -> float:
        """Seconds of all steps so far."""
        return sum(step.seconds for step in self.steps.values())

    def step(self, name: str) -> Step:
        """A step by its name; one that has not begun is empty."""
        return self.steps.get(name) or Step()

    @contextmanager
    def running(self, name: str, **facts: Any) -> Iterator[Step]:
        """Do a step's work inside; it is done when the block ends without an error.

        Args:
            facts: of a step that begins; one that goes on keeps those it began with.
        """
        step = self.steps.setdefault(name, Step(facts=facts))
        before, began = step.seconds, time.monotonic()

        def note(event: str = "", told: Any = None) -> None:
            step.seconds = before + time.monotonic() - began
            if time.monotonic() - self._written >= _EVERY:
                self._write()

        self._write()
        try:
            with listening(note):
                yield step
            step.done = True
        finally:
            step.seconds = before + time.monotonic() - began
            self._write()

    def _write(self) -> None:
        content = {
            "format": _FORMAT,
            "asked": self.asked,
            "steps": {name: asdict(step) for name, step in self.steps.items()},
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        self.output.write(FILE, lambda stream: stream.write(text.encode()))
        self._written = time.monotonic()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Step]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        steps = {name: Step(**step) for name, step in content["steps"].items()}
        return dict(content["asked"]), steps
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); restore it, or give another folder"
        ) from error


def _refuse_other(
    path: Path, before: dict[str, Any], now: dict[str, Any], steps: dict[str, Step]
) -> None:
    names = [*before, *(name for name in now if name not in before)]
    begun = any(name.startswith("train ") for name in steps)
    # with --deterministic the lengths of all trainings follow from the time
    free = () if begun and now.get("deterministic") else CHANGEABLE
    changed = [
        _OF_DATASET.get(name)
        or f"{name} was {json.dumps(before.get(name))} and is now {json.dumps(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
        and name not in free
        and not (name == TRAINED and name not in before)
    ]
    if changed:
        raise ConfigError(
            f"{path.parent}: another fit is there: {'; '.join(changed)}. Give what it had, or "
            "another folder"
        )
