"""Checkpoints: `model.pt` is the best network, `last.pt` is everything that resuming needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator

from ...data.errors import CheckpointError, OutputError
from ..models.checkpoints import BEST, LAST, load_checkpoint
from .trainer import SegmentationTrainer, _unwrapped


def save_atomically(content: Any, path: Path) -> None:
    """torch.save that leaves either the whole file or the one that was there before.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot write the checkpoint ({error}); is the disk full?"
        ) from error


class Checkpoints:
    """Writes model.pt at each new best and last.pt at the end of each epoch; resumes from last.pt.

    Attach it after the validation and the table, so that what it stores is the whole epoch.

    Args:
        resume: go on from output_dir/last.pt where there is one.
        optimizer, lr_scheduler: restored too.
        validator: its best metric decides about model.pt.
        save_interval: epochs between two last.pt.
        writes: False on all but the first process of a multi-GPU run.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        validator: Evaluator,
        lr_scheduler: Any,
        resume: bool = False,
        save_interval: int = 1,
        writes: bool = True,
    ) -> None:
        self.folder = Path(output_dir)
        self.validator = validator
        self.lr_scheduler = lr_scheduler
        self.resume = resume
        self.save_interval = save_interval
        self.writes = writes

    def attach(self, engine: SegmentationTrainer) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, engine: SegmentationTrainer) -> None:
        if not self.writes:
            return
        epoch, best = engine.state.epoch, self.validator.state.best_metric_epoch
        ended = engine.should_terminate or epoch == engine.state.max_epochs
        # a run that ends without any validation still leaves a model
        if best == epoch or (ended and best < 1):
            save_atomically(_best_weights(engine), self.folder / BEST)
        if ended or epoch % self.save_interval == 0:
            save_atomically(self._everything(engine), self.folder / LAST)

    def _everything(self, engine: SegmentationTrainer) -> dict[str, Any]:
        return {
            "format": 1,
            "epoch": int(engine.state.epoch),
            "iteration": int(engine.state.iteration),
            "best_metric": float(self.validator.state.best_metric),
            "best_metric_epoch": int(self.validator.state.best_metric_epoch),
            "network": _unwrapped(engine.network).state_dict(),
            "average": engine.average.module.state_dict() if engine.average else None,
            "averaged_steps": int(engine.average.n_averaged) if engine.average else 0,
            "optimizer": engine.optimizer.state_dict(),
            "lr_scheduler": _plain(self.lr_scheduler.state_dict()),
            "scaler": engine.grad_scaler.state_dict(),
        }

    def _restore(self, engine: SegmentationTrainer) -> None:
        path = self.folder / LAST
        if not self.resume or not path.is_file():
            return
        saved = load_checkpoint(path, device="cpu")
        try:
            _unwrapped(engine.network).load_state_dict(saved["network"])
            if engine.average is not None:
                engine.average.module.load_state_dict(saved["average"] or saved["network"])
                engine.average.n_averaged.fill_(saved["averaged_steps"])
            engine.optimizer.load_state_dict(saved["optimizer"])
            # where it is, but not how long it is: a run may be resumed with more epochs
            reached = {
                key: saved["lr_scheduler"][key]
                for key in ("last_epoch", "_step_count", "_last_lr")
                if key in saved["lr_scheduler"]
            }
            self.lr_scheduler.load_state_dict({**_plain(self.lr_scheduler.state_dict()), **reached})
            engine.grad_scaler.load_state_dict(saved["scaler"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: written by a run with other settings, it cannot be resumed "
                f"({str(error).partition(':')[0]})"
            ) from error
        engine.state.epoch, engine.state.iteration = saved["epoch"], saved["iteration"]
        self.validator.state.best_metric = saved["best_metric"]
        self.validator.state.best_metric_epoch = saved["best_metric_epoch"]
        engine.logger.info(f"resumed from {path} after epoch {saved['epoch']}")


def _best_weights(engine: SegmentationTrainer) -> dict[str, torch.Tensor]:
    source = engine.average.module if engine.average else _unwrapped(engine.network)
    return {name: tensor.detach().cpu() for name, tensor in source.state_dict().items()}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without its functions, which weights_only would refuse."""
    return {
        key: value
        for key, value in state.items()
        if isinstance(value, (int, float, list, str, type(None)))
    }
