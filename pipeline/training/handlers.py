"""What a training shows and records: progress bar, metrics_train.csv, TensorBoard, early stop."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.utils.enums import CommonKeys as Keys
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from ...data.events import emit
from ...data.progress import Progress
from .engine.label_dice import MEAN_DICE, dice_name
from .engine.stopwatch import timed
from .engine.trainer import SegmentationTrainer, TrainerEvents, at_end
from .engine.validator import validates
from .folder.run_folder import METRICS, write_result
from .folder.training_table import read_training_record
from .told import no_better, unvalidated_line, validation_line

logger = logging.getLogger(__name__)
_SAID = logging.getLogger("gridgate.validation")  # told as an event, too

# Reading a loss waits for the GPU, and then the GPU waits for Python: it is not read at each step.
_LOOKS_EVERY = 1.0  # seconds


class ProgressBar:
    """How far the run is, over all its iterations, with its loss and the best mean Dice."""

    def __init__(self, validator: Evaluator) -> None:
        self.validator = validator
        self._progress: Progress | None = None
        self._loss, self._looked = float("nan"), -_LOOKS_EVERY

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        at_end(engine, self._close)

    def _open(self, engine: Engine) -> None:
        if self._progress is None:
            total = (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0)
            self._progress = Progress(
                total, "training", unit="iterations", initial=engine.state.iteration
            )

    def _step(self, engine: Engine) -> None:
        assert self._progress is not None
        state = self.validator.state
        if time.monotonic() - self._looked >= _LOOKS_EVERY:
            self._loss, self._looked = float(_loss(engine)), time.monotonic()
        shown = f"epoch {engine.state.epoch}, loss {self._loss:.3f}"
        if not validates(self.validator):
            shown += ", no case held out"
        elif state.best_metric_epoch > 0:
            shown += f", best Dice {state.best_metric:.3f} after epoch {state.best_metric_epoch}"
        self._progress.advance(note=shown)

    def _close(self, engine: Engine) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None


class TrainingRecord:
    """Writes metrics_train.csv, one row per validation, and the same to TensorBoard.

    Columns: epoch, iteration, seconds (of training so far; a resumed run counts on from its last
    row), loss (mean since the last row), learning_rate, dice_mean, and dice_<label> per foreground
    label, NaN where no case is held out. On resume, rows after the checkpoint are dropped.

    Args:
        labels: names of the foreground labels, in channel order.
        interval: epochs between two validations.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        validator: Evaluator,
        optimizer: Optimizer,
        labels: Sequence[str],
        interval: int = 1,
    ) -> None:
        self.folder = Path(output_dir)
        self.validator = validator
        self.optimizer = optimizer
        self.labels = list(labels)
        self.interval = interval
        self._rows: list[dict[str, Any]] = []
        self._unread: list[tuple[int, torch.Tensor, float]] = []  # iteration, loss, learning rate
        self._writer: SummaryWriter | None = None
        self._started = self._looked = time.monotonic()

    @property
    def path(self) -> Path:
        """Where the table is."""
        return self.folder / METRICS

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        fixed = ["epoch", "iteration", "seconds", "loss", "learning_rate", "dice_mean"]
        return fixed + [f"dice_{name}" for name in self.labels]

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after its ValidationHandler."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._read_losses)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._write)
        at_end(engine, self._close)

    def _open(self, engine: Engine) -> None:
        if self._writer is not None:
            return
        done = engine.state.epoch - 1
        kept = (
            [row for row in read_training_record(self.folder) if int(row["epoch"]) <= done]
            if done
            else []
        )
        self._rows = [dict(row) for row in kept]
        self._write_table()
        self._started = time.monotonic() - (float(kept[-1]["seconds"]) if kept else 0.0)
        step = engine.state.iteration
        self._writer = SummaryWriter(
            str(self.folder / "tensorboard"), purge_step=step if step else None
        )

    def _note_loss(self, engine: Engine) -> None:
        self._unread.append((engine.state.iteration, _loss(engine), self._learning_rate))
        if time.monotonic() - self._looked >= _LOOKS_EVERY:
            self._read_losses(engine)

    def _read_losses(self, engine: Engine) -> None:
        unread, self._unread, self._looked = self._unread, [], time.monotonic()
        if not unread:
            return
        assert self._writer is not None
        losses = torch.stack([loss.detach().float() for _, loss, _ in unread]).tolist()
        # with the engine, so that a checkpoint between two rows holds them
        _unwritten(engine).extend(losses)
        for (iteration, _, rate), loss in zip(unread, losses, strict=True):
            self._writer.add_scalar("train/loss", loss, iteration)
            self._writer.add_scalar("train/learning_rate", rate, iteration)

    @property
    def _learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _write(self, engine: Engine) -> None:
        metrics = self.validator.state.metrics
        losses = _unwritten(engine)
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "seconds": round(time.monotonic() - self._started, 2),
            "loss": round(sum(losses) / max(len(losses), 1), 6),
            "learning_rate": f"{self._learning_rate:.6g}",
            "dice_mean": round(float(metrics.get(MEAN_DICE, float("nan"))), 5),
        }
        row |= {
            f"dice_{name}": round(float(metrics.get(dice_name(name), float("nan"))), 5)
            for name in self.labels
        }
        losses.clear()
        self._rows.append(row)
        with timed(engine, "save"):
            self._write_table()
        self._tell(row, engine.state.max_epochs)
        assert self._writer is not None
        for column in self.columns[5:] if validates(self.validator) else []:
            self._writer.add_scalar(f"validation/{column}", row[column], engine.state.iteration)
        self._writer.flush()

    def _tell(self, row: dict[str, Any], epochs: int | None) -> None:
        state = self.validator.state
        dice = {name: row[f"dice_{name}"] for name in self.labels}
        best = round(float(state.best_metric), 5) if state.best_metric_epoch > 0 else None
        emit(
            "epoch",
            **{name: row[name] for name in ("epoch", "iteration", "seconds", "loss", "dice_mean")},
            learning_rate=self._learning_rate,
            dice=dice,
            best_epoch=None if best is None else state.best_metric_epoch,
            best_dice=best,
        )
        if not validates(self.validator):
            line = unvalidated_line(epoch=row["epoch"], epochs=epochs, loss=row["loss"])
            _SAID.info(line)
            return
        _SAID.info(
            validation_line(
                epoch=row["epoch"],
                epochs=epochs,
                loss=row["loss"],
                mean=row["dice_mean"],
                dice=dice,
                best=best,
                best_epoch=state.best_metric_epoch,
            )
        )

    def _write_table(self) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self.columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(self._rows)
        content = text.getvalue().encode()
        write_result(self.folder, METRICS, lambda stream: stream.write(content))

    def _close(self, engine: Engine) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError as error:  # all it held is in metrics_train.csv, too
                logger.warning(f"{self.folder / 'tensorboard'}: cannot be written ({error})")


def _unwritten(engine: Engine) -> list[float]:
    """The losses since the table's last row."""
    state: Any = engine.state
    if not hasattr(state, "unwritten_losses"):
        state.unwritten_losses = []
    return cast("list[float]", state.unwritten_losses)


def _loss(engine: Engine) -> torch.Tensor:
    output: Any = engine.state.output
    first = output[0] if isinstance(output, list) else output  # decollated
    return torch.as_tensor(first[Keys.LOSS])


class EarlyStop:
    """Ends the training when the mean Dice has not risen for a number of epochs.

    Not MONAI's EarlyStopHandler: that sits on the validator and needs the trainer, which a config
    cannot say without a circle, and it counts from zero again after a resume.

    Args:
        patience: epochs without a new best; 0 never stops, nor does any where no case is held out.
    """

    def __init__(self, validator: Evaluator, *, patience: int = 0) -> None:
        self.validator = validator
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after its ValidationHandler."""
        engine.add_event_handler(Events.STARTED, self._look)
        if isinstance(engine, SegmentationTrainer):
            engine.add_event_handler(TrainerEvents.RESTORED, self._check)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check)

    def _look(self, engine: Engine) -> None:
        if self.patience and not validates(self.validator):
            logger.info(f"--patience {self.patience} ends nothing: no case is held out")

    def _check(self, engine: Engine) -> None:
        state: Any = engine.state
        best_epoch = self.validator.state.best_metric_epoch
        if not self.patience or best_epoch <= 0 or state.epoch - best_epoch < self.patience:
            return
        if state.epoch == state.max_epochs:  # it ends anyway
            return
        best = float(self.validator.state.best_metric)
        state.stopped_early = no_better(
            epoch=state.epoch, epochs=state.max_epochs, best=best, best_epoch=best_epoch
        )
        logger.info(f"the training {state.stopped_early} (--patience {self.patience})")
        emit(
            "early_stop",
            epoch=state.epoch,
            epochs=state.max_epochs,
            best_epoch=best_epoch,
            best_dice=round(best, 5),
            patience=self.patience,
        )
        engine.terminate()
