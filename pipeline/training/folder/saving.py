"""Checkpoints: `models/model.pt` is the best network, `last.pt` all that resuming needs."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator

from ....data.errors import CheckpointError, ConfigError
from ...models.checkpoints import LAST, carry_plan, load_checkpoint
from ...models.writing_weights import save_checkpoint
from ..engine.average import unwrapped
from ..engine.scheduler_state import plain_state, restored_state
from ..engine.stopwatch import timed
from ..engine.trainer import SegmentationTrainer, TrainerEvents
from .run_folder import KEPT, WEIGHTS, write_result

logger = logging.getLogger(__name__)

_FORMAT = 2
_SHARE = 0.05  # of a training's time, for writing last.pt
_LONGEST = 600.0  # seconds between two of them, however long one took: the process may have slept


class Checkpoints:
    """Writes models/model.pt at each new best and last.pt after each epoch; resumes from last.pt.

    Attach it after the validation and the table, so that what it stores is the whole epoch. Where
    an epoch is so short that writing would take more than a twentieth of the time, as with small
    networks on a GPU, last.pt is that of an epoch some seconds ago, ten minutes at most, until a
    new best or the end.

    Args:
        resume: go on from output_dir/last.pt where there is one.
        optimizer, lr_scheduler: restored too.
        validator: its best metric decides about model.pt.
        writes: False on all but the first process of a multi-GPU run.
        keep: "best", or "last": model.pt has the weights of the end, whatever the validations say.
        keep_every: epochs between two checkpoints that stay beside it, models/epoch_0010.pt; 0:
            none.
        plan: travels inside model.pt, see `carry_plan`; None: it carries none.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        validator: Evaluator,
        lr_scheduler: Any,
        resume: bool = False,
        writes: bool = True,
        plan: Any = None,
        keep: str = "best",
        keep_every: int = 0,
    ) -> None:
        if keep_every < 0:
            raise ConfigError(f"keep_every {keep_every}: a number of epochs, or 0")
        if keep not in ("best", "last"):
            raise ConfigError(f"keep {keep!r}: best or last is wanted")
        self.keep = keep
        self.keep_every = keep_every
        self.folder = Path(output_dir)
        self.validator = validator
        self.lr_scheduler = lr_scheduler
        self.resume = resume
        self.writes = writes
        self.plan = plan
        self._first: Any = None  # the scheduler's state before the first step
        self._next_write = 0.0  # by time.monotonic()
        self._at_end = False  # whether the epoch that ended the run was saved as its last one

    def attach(self, engine: SegmentationTrainer) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        for event in (Events.TERMINATE, Events.COMPLETED):
            engine.add_event_handler(event, self._end)

    def _save(self, engine: SegmentationTrainer) -> None:
        if self.writes:
            with timed(engine, "save"):
                self._write_due(engine)

    def _write_due(self, engine: SegmentationTrainer) -> None:
        epoch, best = engine.state.epoch, self.validator.state.best_metric_epoch
        ended = engine.should_terminate or epoch == engine.state.max_epochs
        # a run that ends without any validation still leaves a model
        new = ended if self.keep == "last" else best == epoch or (ended and best < 1)
        self._at_end = bool(ended)
        if new:
            self._write(WEIGHTS, carry_plan(_best_weights(engine), self.plan))
        if self.keep_every and epoch % self.keep_every == 0:
            name = KEPT.format(epoch=epoch)
            self._write(name, carry_plan(_best_weights(engine), self.plan))
        began = time.monotonic()
        if new or ended or began >= self._next_write:
            self._write(LAST, self._everything(engine))
            now = time.monotonic()
            self._next_write = now + min((now - began) / _SHARE, _LONGEST)

    def _end(self, engine: SegmentationTrainer) -> None:
        """Write the weights of the end where no epoch of this run was its last.

        As in a training that is resumed with no more epochs than it has, or whose patience is over.
        """
        if not self.writes or self._at_end or not engine.state.iteration:
            return
        if self.keep == "last" or self.validator.state.best_metric_epoch < 1:
            with timed(engine, "save"):
                self._write(WEIGHTS, carry_plan(_best_weights(engine), self.plan))
        self._at_end = True

    def _write(self, name: str, content: Any) -> None:
        write_result(self.folder, name, lambda stream: save_checkpoint(content, stream))

    def _everything(self, engine: SegmentationTrainer) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "epoch": int(engine.state.epoch),
            "iteration": int(engine.state.iteration),
            "best_metric": float(self.validator.state.best_metric),
            "best_metric_epoch": int(self.validator.state.best_metric_epoch),
            "network": unwrapped(engine.network).state_dict(),
            "average": engine.average.module.state_dict() if engine.average else None,
            "averaged_steps": int(engine.average.n_averaged) if engine.average else 0,
            "optimizer": engine.optimizer.state_dict(),
            "lr_scheduler": plain_state(self.lr_scheduler.state_dict()),
            "lr_scheduler_first": self._first,
            "unwritten_losses": list(getattr(engine.state, "unwritten_losses", [])),
            "scaler": engine.grad_scaler.state_dict(),
        }

    def _restore(self, engine: SegmentationTrainer) -> None:
        path = self.folder / LAST
        self._at_end = False
        self._first = plain_state(self.lr_scheduler.state_dict())
        if not self.resume or not path.is_file():
            return
        saved = load_checkpoint(path, device="cpu")
        try:
            unwrapped(engine.network).load_state_dict(saved["network"])
            if engine.average is not None:
                engine.average.module.load_state_dict(saved["average"] or saved["network"])
                engine.average.n_averaged.fill_(saved["averaged_steps"])
            engine.optimizer.load_state_dict(saved["optimizer"])
            self.lr_scheduler.load_state_dict(
                restored_state(
                    saved["lr_scheduler"],
                    saved.get("lr_scheduler_first"),
                    self.lr_scheduler.state_dict(),
                )
            )
            engine.grad_scaler.load_state_dict(saved["scaler"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: written by a run with other settings, it cannot be resumed "
                f"({str(error).partition(':')[0]})"
            ) from error
        engine.state.epoch, engine.state.iteration = saved["epoch"], saved["iteration"]
        engine.state.unwritten_losses = list(saved.get("unwritten_losses", []))
        self.validator.state.best_metric = saved["best_metric"]
        self.validator.state.best_metric_epoch = saved["best_metric_epoch"]
        logger.info(f"resumed from {path} after epoch {saved['epoch']}")
        engine.fire_event(TrainerEvents.RESTORED)


def _best_weights(engine: SegmentationTrainer) -> OrderedDict[str, torch.Tensor]:
    source = engine.average.module if engine.average else unwrapped(engine.network)
    state = OrderedDict(source.state_dict())
    for name, tensor in state.items():
        state[name] = tensor.detach().cpu()
    return state
