"""The handler that keeps the page of a training while it runs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sized
from datetime import datetime
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Evaluator

from ....data.datasets.folds import trains_on_all
from ....data.errors import user_error
from ...models.machine import machine_facts
from ...plans.plan import Plan
from ...training.engine.trainer import at_end
from ...training.folder.provenance import typed_command
from ...training.folder.run_folder import PAGE, is_free, write_result
from ...training.folder.training_table import read_training_record
from ...training.told import ending, go_on, on_cases
from .content import Standing, TrainingRun, training_page

logger = logging.getLogger(__name__)

_EVERY = 20.0  # seconds between two pages, at least
_SHARE = 0.005  # of a training's time, for making them


class TrainingPage:
    """Keeps OUTPUT/report.html: how far the training is, its curves, and what is trained.

    It is written when the training begins and ends, and in between after an epoch, as often as
    costs next to nothing. Where it cannot be written, the training goes on without it.

    Args:
        output_dir: of the training.
        validator: of the training.
        plan: as resolved.
        dataset_dir, fold, folds, split_seed, splits: what it is trained on.
        train_dataset, validation_dataset: their lengths are told.
        seed: of the training.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        validator: Evaluator,
        plan: Plan,
        dataset_dir: str | Path | None,
        train_dataset: Sized,
        validation_dataset: Sized,
        fold: int = 0,
        folds: int = 5,
        split_seed: int = 0,
        splits: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        self.folder = Path(output_dir)
        self.validator = validator
        self.plan = plan
        self.dataset = "a tool's cases" if dataset_dir is None else Path(dataset_dir).resolve().name
        self.datasets = train_dataset, validation_dataset
        self.split = f"fold {fold} of {folds}, split seed {split_seed}"
        if splits is not None:
            self.split = f"fold {fold} of {Path(splits).name}"
        self.everything = dataset_dir is not None and trains_on_all(folds)
        self.seed = seed
        self._writes = True
        self._ended = False
        self._began = datetime.now()
        self._first = 0  # iterations that were done when this run began
        self._next = 0.0  # by time.monotonic()
        self._machine: list[tuple[str, str]] = []

    def attach(self, engine: Any) -> None:
        """Register on the trainer, after its TrainingRecord."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._now_and_then)
        engine.add_event_handler(Events.COMPLETED, self._note_end)
        engine.add_event_handler(Events.TERMINATE, self._note_end)
        at_end(engine, self._end)

    def _note_end(self) -> None:
        self._ended = True

    def _begin(self, engine: Any) -> None:
        self._ended = False
        self._began, self._first = datetime.now(), engine.state.iteration
        self._writes = is_free(self.folder, PAGE)
        if not self._writes:
            logger.warning("%s is not ours, so there is no page", self.folder / PAGE)
            return
        self._machine = machine_facts()
        self._write(engine, self._running(engine))
        if self._writes:
            logger.info("how the training goes: %s", self.folder / PAGE)

    def _now_and_then(self, engine: Any) -> None:
        if time.monotonic() >= self._next and not engine.should_terminate:
            self._write(engine, self._running(engine))

    def _end(self, engine: Any) -> None:
        state, error = engine.state, sys.exc_info()[1]
        if self._ended or error is None:
            standing = self._standing(engine, text=f"It {ending(engine)}.")
        elif isinstance(error, KeyboardInterrupt):
            text = f"It was stopped in epoch {state.epoch} of {state.max_epochs}; {go_on()}."
            standing = self._standing(engine, text=text)
        else:
            known = user_error(error)
            why = f"{type(error).__name__}: {error}" if known is None else str(known)
            text = f"It failed in epoch {state.epoch} of {state.max_epochs}: {why}"
            standing = self._standing(engine, text=text, failed=True)
        self._write(engine, standing)

    def _running(self, engine: Any) -> Standing:
        state, now = engine.state, datetime.now()
        ends = None
        if state.iteration > self._first and state.epoch_length:
            each = (now - self._began) / (state.iteration - self._first)
            ends = now + each * (state.max_epochs * state.epoch_length - state.iteration)
        patience = bool(self.plan.training.get("patience")) and len(self.datasets[1]) > 0
        return self._standing(engine, running=True, ends=ends, earliest=patience)

    def _standing(
        self,
        engine: Any,
        *,
        running: bool = False,
        text: str = "",
        failed: bool = False,
        ends: datetime | None = None,
        earliest: bool = False,
    ) -> Standing:
        state = engine.state
        done = state.iteration // (state.epoch_length or 1)  # the epoch's number rises as it begins
        return Standing(
            running=running,
            text=text,
            failed=failed,
            epoch=done,
            epochs=state.max_epochs or 0,
            iteration=state.iteration,
            began=self._began,
            now=datetime.now(),
            ends=ends,
            earliest=earliest,
        )

    def _write(self, engine: Any, standing: Standing) -> None:
        if not self._writes:
            return
        began = time.monotonic()
        try:
            run = self._run(engine)
            refresh = round(max(_EVERY, min(600.0, self._next - began)))
            content = training_page(run, standing, refresh=refresh)
            write_result(self.folder, PAGE, lambda stream: stream.write(content))
        except Exception as error:  # whatever it is: a page is no reason to end a training
            self._writes = False
            logger.warning("%s: no page from here on: %s", self.folder / PAGE, error)
        took = time.monotonic() - began
        self._next = time.monotonic() + max(_EVERY, took / _SHARE)

    def _run(self, engine: Any) -> TrainingRun:
        train, validation = map(len, self.datasets)
        plan = self.plan
        data = on_cases(self.dataset, self.split, train, validation, everything=self.everything)
        return TrainingRun(
            title=plan.title or plan.name,
            data=f"Trained {data}. Research software; not a medical device.",
            labels=plan.labels[1:],
            rows=read_training_record(self.folder),
            hints=[(hint.text, hint.serious) for hint in getattr(engine.state, "label_hints", ())],
            settings=_settings(plan, engine, self.seed, validated=validation > 0),
            machine=self._machine,
            command=typed_command(),
            go_on=go_on(),
            validated=validation > 0,
        )


def _settings(plan: Plan, engine: Any, seed: int, *, validated: bool) -> list[tuple[str, str]]:
    """The plan in short, and how it is trained."""
    training = plan.training
    network = _listed({name: value for name, value in plan.network.items() if name != "name"})
    weights = sum(one.numel() for one in engine.network.parameters())
    found = {
        "labels": ", ".join(plan.labels[1:]),
        "network": f"{plan.network.get('name')} ({network}), {weights:,} parameters",
        "window": f"{' x '.join(map(str, plan.roi_size))} voxels, {training.get('batch_size')} of "
        "them in a batch",
        "grid": f"{plan.orientation}, "
        + (
            "the scan's own spacing"
            if plan.spacing is None
            else f"{' x '.join(f'{mm:g}' for mm in plan.spacing)} mm"
        ),
        "intensity": _listed(plan.intensity),
        "length": f"{training.get('epochs')} epochs of {training.get('iterations_per_epoch')} "
        "batches, "
        + (
            f"a validation every {training.get('val_interval')}; patience "
            f"{training.get('patience') or 'without end'}"
            if validated
            else "without validation"
        ),
        "learning rate": f"{training.get('learning_rate')}, weight decay "
        f"{training.get('weight_decay')}",
        "loss": str(training.get("loss")),
        "augmentation": _listed(training.get("augmentation") or {}) or "its defaults",
        "seed": str(seed),
        "computed": f"on {engine.state.device}, "
        + ("in float32" if engine.dtype is None else f"in {str(engine.dtype).split('.')[-1]}"),
    }
    return list(found.items())


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
