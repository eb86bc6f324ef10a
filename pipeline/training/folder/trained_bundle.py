"""A training's output folder is a bundle: the plan as the run resolved it, and how well it did."""

from __future__ import annotations

import logging
from collections.abc import Sized
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from ....data.datasets.folds import trains_on_all
from ...plans.new_bundle import RECORDS
from ...plans.plan import Plan
from ...plans.writing import bundle_files
from ..engine.stopwatch import timed
from ..told import ending, go_on, on_cases
from .provenance import this_start, told
from .run_folder import is_free, write_result
from .training_table import read_training_record

logger = logging.getLogger(__name__)


class TrainedBundle:
    """Writes configs, docs and licence of the run's own bundle into its output folder.

    At the start, so that weights never lie without their plan, and again when the training ends,
    with what it was trained on and the best validation's Dice in docs/README.md.

    Args:
        output_dir: of the training. Where it is the bundle's own folder, as in tools that train a
            bundle in place, the configs there stay as they are.
        plan: as resolved, overrides included.
        bundle_root: folder of the bundle that is trained.
        validator: its best metric and the labels' Dice are told.
        dataset_dir, fold, folds, split_seed, splits: what it was trained on.
        train_dataset, validation_dataset: their lengths are told.
        keep: as for Checkpoints.
        writes: False on all but the first process of a multi-GPU run.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        plan: Plan,
        bundle_root: str | Path,
        validator: Evaluator,
        dataset_dir: str | Path | None,
        train_dataset: Sized,
        validation_dataset: Sized,
        fold: int = 0,
        folds: int = 5,
        split_seed: int = 0,
        splits: str | Path | None = None,
        keep: str = "best",
        writes: bool = True,
    ) -> None:
        self.keep = keep
        self.folder = Path(output_dir)
        self.plan = plan.replace(name=self.folder.resolve().name)
        self.validator = validator
        self.dataset = "a tool's cases" if dataset_dir is None else Path(dataset_dir).resolve().name
        self.train_dataset, self.validation_dataset = train_dataset, validation_dataset
        self.split = f"fold {fold} of {folds} (split seed {split_seed})"
        if splits is not None:
            self.split = f"fold {fold} of `{Path(splits).name}`"
        self.everything = dataset_dir is not None and trains_on_all(folds)
        self.bundle_root = Path(bundle_root)
        self.writes = writes and self.folder.resolve() != Path(bundle_root).resolve()

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after its ValidationHandler."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.TERMINATE, self._end)

    def _begin(self, engine: Engine) -> None:
        with timed(engine, "save"):
            self._write(f"{self._trained_on()} The training has not ended; {go_on()}.")

    def _best(self) -> dict[str, float]:
        """Label -> Dice of the best validation, which may have been before a stop."""
        epoch = str(self.validator.state.best_metric_epoch)
        rows = {row["epoch"]: row for row in read_training_record(self.folder)}
        if self.keep != "best" or epoch not in rows:
            return {}
        columns = {name: rows[epoch].get(f"dice_{name}") for name in self.plan.labels[1:]}
        return {name: float(dice) for name, dice in columns.items() if dice}

    def _end(self, engine: Engine) -> None:
        state = self.validator.state
        text = (
            f"{self._trained_on()} {engine.state.iteration} iterations in {engine.state.epoch} "
            f"epochs: it {ending(engine)}."
        )
        if not len(self.validation_dataset):
            text += (
                "\n\n`models/model.pt` has the averaged weights of the end. How good they are was "
                "not measured: `gridgate evaluate` does it on cases of another dataset (`--part "
                "all`).\n"
            )
        elif self.keep == "last":
            text += "\n\n`models/model.pt` has the averaged weights of the end.\n"
        elif state.best_metric_epoch > 0:
            text += (
                f"\n\n`models/model.pt` is the best of the validations, after epoch "
                f"{state.best_metric_epoch}: mean Dice {state.best_metric:.3f} on the network's "
                "grid. `gridgate evaluate` measures it in the label files' own grids.\n"
            )
        else:
            text += (
                "\n\n`models/model.pt` has the averaged weights of the end: no validation has "
                "measured a Dice.\n"
            )
        if best := self._best():
            rows = [f"| {name} | {dice:.3f} |" for name, dice in best.items()]
            text += "\n" + "\n".join(["| label | Dice |", "|---|---|", *rows]) + "\n"
        with timed(engine, "save"):
            self._write(f"{text}\n\n{told(this_start())}")

    def _trained_on(self) -> str:
        train, validation = len(self.train_dataset), len(self.validation_dataset)
        dataset = f"`{self.dataset}`"
        told = on_cases(dataset, self.split, train, validation, everything=self.everything)
        return f"Trained {told}."

    def _write(self, results: str) -> None:
        if not self.writes:
            return
        files = bundle_files(self.plan.replace(results=results), trained=True)
        files |= _records(self.bundle_root)
        for name, text in files.items():
            if not is_free(self.folder, name):
                logger.warning("%s was changed by somebody, and stays as it is", self.folder / name)
                continue
            write_result(self.folder, name, partial(_write, text))


def _records(bundle_root: Path) -> dict[str, str]:
    """What the bundle was planned by, where `gridgate plan` made it."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in (bundle_root / name for name in RECORDS)
        if path.is_file()
    }


def _write(text: str, stream: BinaryIO) -> None:
    stream.write(text.encode())
