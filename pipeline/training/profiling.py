"""Where the time of a training goes: a table at its end, and profile.csv."""

from __future__ import annotations

import csv
import io
import logging
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents

from .engine.stopwatch import OTHER, PARTS, Stopwatch
from .engine.trainer import SegmentationTrainer, at_end
from .folder.run_folder import PROFILE, write_result

logger = logging.getLogger(__name__)

COLUMNS = ("part", "seconds", "share", "ms_per_iteration")
WHOLE, DRAW = "whole", "draw"


class Profile:
    """Writes profile.csv, and the same table to the log, when a training ends, however it does.

    A row per part: read (the cases, at the start), augment (what the training waited for windows),
    forward (the batch's way to the device included), loss, backward, step (clipping, optimizer,
    moving average), validate, save (checkpoints, the bundle, tables), other, and the whole, which
    is their sum. The row draw tells the seconds that all processes spent on drawing windows, at the
    same time as the rest. On a GPU each part is waited for, and no step is a CUDA graph: a training
    that is profiled is slower.

    Args:
        output_dir: of the training.
        validator: of the training.
    """

    def __init__(self, output_dir: str | Path, *, validator: Evaluator) -> None:
        self.folder = Path(output_dir)
        self.validator = validator
        self._iterations = 0
        self._drawing: _Drawing | None = None

    def attach(self, engine: SegmentationTrainer) -> None:
        """Register on the trainer, after all other handlers."""
        device: torch.device = engine.state.device
        watch = engine.stopwatch = Stopwatch(device)
        for event, part in (
            (Events.STARTED, OTHER),
            (Events.GET_BATCH_STARTED, "augment"),
            (Events.GET_BATCH_COMPLETED, OTHER),
            (Events.ITERATION_STARTED, "forward"),
            (IterationEvents.FORWARD_COMPLETED, "loss"),
            (IterationEvents.LOSS_COMPLETED, "backward"),
            (IterationEvents.BACKWARD_COMPLETED, "step"),
            (IterationEvents.MODEL_COMPLETED, OTHER),
        ):
            engine.add_event_handler(event, lambda _, part=part: watch.switch(part))
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._count)
        self.validator.add_event_handler(Events.STARTED, lambda _: watch.switch("validate"))
        self.validator.add_event_handler(Events.COMPLETED, lambda _: watch.switch(OTHER))
        self._drawing = _Drawing.of(getattr(engine.data_loader, "dataset", None))
        at_end(engine, self._close)
        if device.type == "cuda":
            logger.info("profiling slows a training on a GPU: each part of a step is waited for")

    def _count(self, engine: Engine) -> None:
        self._iterations += 1

    def _close(self, engine: SegmentationTrainer) -> None:
        watch = engine.stopwatch
        assert watch is not None
        watch.stop()
        rows = self._rows(watch)
        if self._drawing is not None:
            self._drawing.end()
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(COLUMNS)
        table.writerows(
            (part, f"{seconds:.3f}", "" if share is None else f"{share:.4f}", f"{each:.2f}")
            for part, seconds, share, each in rows
        )
        content = text.getvalue().encode()
        write_result(self.folder, PROFILE, lambda stream: stream.write(content))
        logger.info(_as_text(rows, self._iterations))

    def _rows(self, watch: Stopwatch) -> list[tuple[str, float, float | None, float]]:
        """Part, seconds, share of the whole, milliseconds per iteration."""
        whole = watch.whole
        found = [(part, watch.seconds[part]) for part in PARTS] + [(WHOLE, whole)]
        each = 1000 / max(self._iterations, 1)
        rows: list[tuple[str, float, float | None, float]] = [
            (part, seconds, seconds / whole if whole else 0.0, seconds * each)
            for part, seconds in found
        ]
        if self._drawing is not None:
            drawn = self._drawing.seconds
            rows.append((DRAW, drawn, None, drawn * each))
        return rows


class _Drawing:
    """Draws the windows of a batch in a dataset's place, and counts the seconds in all processes.

    PyTorch's loader asks a dataset that has `__getitems__` for a batch at once.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._own = getattr(dataset, "__getitems__", None)
        self._seconds: Any = multiprocessing.get_context("spawn").Value("d", 0.0)

    @classmethod
    def of(cls, dataset: Any) -> _Drawing | None:
        """One that stands in for a dataset's own drawing; None where there is no dataset."""
        if not hasattr(dataset, "__dict__"):
            return None
        dataset.__getitems__ = made = cls(dataset)
        return made

    @property
    def seconds(self) -> float:
        """Of all processes together."""
        return float(self._seconds.value)

    def __call__(self, keys: Sequence[Any]) -> list[Any]:
        began = time.perf_counter()
        try:
            if self._own is not None:
                return list(self._own(keys))
            return [self._dataset[key] for key in keys]
        finally:
            with self._seconds.get_lock():
                self._seconds.value += time.perf_counter() - began

    def end(self) -> None:
        """Leave the dataset as it was."""
        self._dataset.__dict__.pop("__getitems__", None)


def _as_text(rows: Sequence[tuple[str, float, float | None, float]], iterations: int) -> str:
    lines = [
        f"where the time of {iterations} iterations went:",
        f"{'part':10s} {'seconds':>9s} {'share':>7s} {'ms/iteration':>13s}",
    ]
    for part, seconds, share, each in rows:
        told = "" if share is None else f"{100 * share:.1f} %"
        beside = "   by all processes that draw windows" if part == DRAW else ""
        lines.append(f"{part:10s} {seconds:9.2f} {told:>7s} {each:13.1f}{beside}")
    return "\n".join(lines)
