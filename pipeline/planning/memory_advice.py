"""A training that runs out of memory: what was asked for, and the settings that would fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from ...data.errors import GridgateError
from ..inference.out_of_memory import is_out_of_memory
from ..training.engine.soundness import TrainingError
from .decisions.decision import sizes
from .decisions.fitting_step import FittingSteps, fitting_steps
from .measures.free_memory import device_memory, step_memory_left
from .measures.trial import Candidate

_IN_WORKER = re.compile(r"DataLoader worker")
_KILLED = re.compile(
    r"DataLoader worker \(pid.*?\) (is killed by signal: (Killed|Bus error)|exited unexpectedly)"
)
_WORKERS = (
    "memory ran out in the worker processes that draw windows{why}; start again with --num_workers "
    "0, which needs none, or with fewer of them, or with --cache_dir FOLDER, which keeps the cases "
    "on disk and not in memory"
)


class MemoryAdvice:
    """Ends a training that runs out of memory with an error that names settings that would fit.

    These are counted on PyTorch's meta device against what was free when the training began;
    nothing is tried. Other errors are raised as they are.

    Args:
        validator: memory may run out there, too.
        architecture, channels, outputs: of the network.
        roi_size, batch_size: of a training step.
        accumulation_steps: batches of a step; None where the training has no such setting.
    """

    def __init__(
        self,
        *,
        validator: Evaluator,
        architecture: Mapping[str, Any],
        channels: int,
        outputs: int,
        roi_size: Sequence[int],
        batch_size: int,
        accumulation_steps: int | None = None,
    ) -> None:
        self.validator = validator
        self.architecture, self.channels, self.outputs = architecture, channels, outputs
        self.window, self.batch = roi_size, batch_size
        self.accumulated = accumulation_steps
        self._validating = False
        self._left: int | None = None

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._look)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._answer)
        self.validator.add_event_handler(Events.STARTED, lambda: self._tell_validating(True))
        self.validator.add_event_handler(Events.COMPLETED, lambda: self._tell_validating(False))

    def _tell_validating(self, now: bool) -> None:
        self._validating = now

    def _look(self, engine: Any) -> None:
        self._validating = False
        weights = sum(one.nbytes for one in engine.network.parameters())
        self._left = step_memory_left(engine.state.device, weights)

    def _answer(self, engine: Any, error: Exception) -> None:
        if isinstance(error, GridgateError):  # ours says what it has to; Ignite tells of it twice
            raise error
        killed = _KILLED.search(str(error))
        if killed is not None:
            raise TrainingError(_WORKERS.format(why=_why_killed(killed))) from error
        if not is_out_of_memory(error):
            raise error
        if _IN_WORKER.search(str(error)):
            raise TrainingError(_WORKERS.format(why="")) from error
        text = self._of_validation(engine) if self._validating else self._of_step(engine)
        raise TrainingError(text) from error

    @property
    def _name(self) -> str:
        return str(self.architecture["name"])

    def _candidate(self) -> Candidate:
        given = self.architecture
        options = {key: given[key] for key in given if key not in ("name", "img_size")}
        return Candidate(self._name, options, self.channels, self.outputs)

    def _of_step(self, engine: Any) -> str:
        where = f"out of memory in a training step on {self._place(engine)}"
        asked = f"{self._name} with {_windows(self.batch, self.window)} at once"
        try:
            found = fitting_steps(
                self._candidate(),
                self.window,
                self.batch,
                memory=self._left or 0,
                half=engine.dtype is not None,
            )
        except GridgateError:  # a network that cannot be counted
            return f"{where}: {asked} is too much; give a smaller --batch_size or --roi_size"
        return f"{where}: {asked} takes about {_gb(found.needed)}. {self._advice(found)}"

    def _advice(self, found: FittingSteps) -> str:
        options = []
        if found.batch is not None:
            options.append(f"--batch_size {found.batch}")
        if found.shared is not None and self.accumulated is not None:
            steps = self.batch // found.shared * self.accumulated
            options.append(
                f"--batch_size {found.shared} --accumulation_steps {steps} (each step sees as many "
                "windows as asked for)"
            )
        if found.window is not None:
            options.append(self._with_window(found))
        if not options:
            return (
                "No smaller batch and no window of this network would fit: take a smaller network, "
                "or another --device"
            )
        return f"What would fit: {'; or '.join(options)}"

    def _with_window(self, found: FittingSteps) -> str:
        batch = "" if found.window_batch == self.batch else f"--batch_size {found.window_batch} "
        size = (
            f' --architecture::img_size "{found.window}"' if "img_size" in self.architecture else ""
        )
        return f'{batch}--roi_size "{found.window}"{size}'

    def _of_validation(self, engine: Any) -> str:
        return (
            f"out of memory in a validation on {self._place(engine)}: {self._name} with "
            f"windows of {sizes(self.window)}. Training steps did fit; start again with "
            "--cache_dir FOLDER, which keeps the cases on disk and not in memory, with a smaller "
            "--roi_size, or on a device where less runs besides"
        )

    def _place(self, engine: Any) -> str:
        device = engine.state.device
        total = device_memory(device)
        had = "" if total is None else f"of {_gb(total)}, "
        return f"{device} ({had}{_gb(self._left or 0)} free for it)"


def _why_killed(killed: re.Match[str]) -> str:
    reason = killed.group(1)
    if "Bus error" in reason:
        return " (the shared memory, /dev/shm, is full; a container takes --shm-size)"
    if "Killed" in reason:
        return " (the system has killed one)"
    return " (one has ended without a word, as when the system kills it)"


def _windows(count: int, window: Sequence[int]) -> str:
    return f"{count} window{'s' * (count > 1)} of {sizes(window)}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e11 else f"{count / 1e9:.0f} GB"
