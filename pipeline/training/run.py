"""A training as the bundle's config runs it: begin, prepare, train."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.engines import Workflow

from ...data.datasets.check import check_dataset
from ...data.errors import ConfigError
from ...data.events import emit
from ..models.checkpoints import LAST
from ..models.ensemble import ENSEMBLE
from ..plans.plan import Plan
from ..plans.resolved import edited_settings
from ..plans.training_numbers import check_training
from ..plans.writing import bundle_files
from .engine.seeding import seed_draws
from .engine.stopwatch import timed
from .folder.run_folder import open_run_folder, run_in_folder
from .kernels import choose_kernels, restore_kernels
from .told import ending, go_on
from .windows.cases import CachedCases

logger = logging.getLogger(__name__)


def begin_training(*, seed: int, cudnn_benchmark: bool, deterministic: bool = False) -> None:
    """Seed all draws, and choose PyTorch's kernels until `run_training` has ended.

    Args:
        seed: any integer >= 0.
        cudnn_benchmark, deterministic: see kernels.choose_kernels.
    """
    seed_draws(seed)
    choose_kernels(cudnn_benchmark=cudnn_benchmark, deterministic=deterministic)


def prepare_training(
    plan: Plan,
    *,
    bundle_root: str | Path,
    dataset_dir: str | Path | None,
    output_dir: str | Path,
    fold: int,
    folds: int,
    split_seed: int,
    splits: str | Path | None = None,
    resume: bool,
    rank: int,
    world_size: int,
    settings: Mapping[str, Any],
) -> None:
    """Check numbers and dataset, and take the output folder, before anything large is made.

    Args:
        bundle_root: folder of the bundle that is trained.
        dataset_dir: None where a tool gives the cases itself: each is checked when it is read.
        fold, folds, split_seed, splits: see data.datasets.parts.dataset_cases.
        settings: what identifies the run, see workflow.run_settings.
        world_size: number of processes; part of the run's identity, as they share its windows.
        rank: of this process; all but the first only check.

    Raises:
        ConfigError: a number of the plan is impossible, another run is writing in the folder, or
            the training there is another one.
        DatasetError: the dataset is not sound, or does not fit the bundle.
        OutputError: the folder cannot be written.
    """
    if plan.network.get("name") == ENSEMBLE:
        raise ConfigError(
            f"{bundle_root}: holds an ensemble of trained networks, which is not trained further; "
            "train the bundle of one of them, or make another with `gridgate plan`"
        )
    check_training(plan.training)
    split: dict[str, Any] = {"fold": fold, "folds": folds, "split_seed": split_seed}
    split |= {"splits": splits}
    if dataset_dir is not None:
        check_dataset(dataset_dir, channels=plan.channels, **split)
    in_place = Path(output_dir).resolve() == Path(bundle_root).resolve()
    if rank == 0:
        _tell_edited(bundle_root)
    open_run_folder(
        output_dir,
        dataset_dir=dataset_dir,
        resume=resume,
        settings={**settings, "world_size": world_size},
        more_results=() if in_place else bundle_files(plan, trained=True),
        in_place=in_place,
        rank=rank,
        **split,
    )


def _tell_edited(bundle_root: str | Path) -> None:
    for name, (said, planned) in edited_settings(bundle_root).items():
        logger.warning(
            f"{bundle_root}/configs/inference.yaml: {name} is {said}, and {planned} in the plan, "
            f"which the trained bundle has; edit that one, or give --{name} when it is run"
        )


def run_training(
    trainer: Workflow,
    *,
    datasets: Sequence[CachedCases],
    output_dir: str | Path,
    dataset_dir: str | Path | None = None,
) -> None:
    """Preprocess or find the cases, and train, in the folder that `prepare_training` took.

    However it ends, PyTorch has the settings again that it had before `begin_training`.

    Args:
        datasets: of the training and of its validation.
        dataset_dir: None where a tool gives the cases itself. It may give none to validate on, as
            while there is one label: then those that are trained on are. Of a dataset folder whose
            fold holds none out, nothing is validated.

    Raises:
        DatasetError: there is no case, or a label map holds values that no label has.
        KeyboardInterrupt: it was stopped; the text says where, and how to go on.
    """
    train, *others = datasets
    try:
        _load(trainer, train, others, given=dataset_dir is None)
        try:
            run_in_folder(trainer, output_dir)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_stopped(trainer, Path(output_dir))) from None
    finally:
        restore_kernels()
    state = trainer.state
    emit(
        "trained",
        epoch=state.epoch,
        iteration=state.iteration,
        output=str(output_dir),
        ended=ending(trainer),
        cases=len(train),
        held_out=sum(len(dataset) for dataset in others),
    )


def _load(
    trainer: Workflow, train: CachedCases, others: Sequence[CachedCases], *, given: bool
) -> None:
    if given and train.data:
        for dataset in others:
            if not dataset.data:
                dataset.data = list(train.data)
                logger.warning("no case to validate on: the training's own are taken")
    with timed(trainer, "read"):
        train.load()
        for dataset in others:
            if len(dataset):
                dataset.load()


def _stopped(trainer: Workflow, folder: Path) -> str:
    if not (folder / LAST).is_file():
        return f"{folder}: stopped before the first epoch was saved; start the same command again"
    state = trainer.state
    return f"{folder}: stopped in epoch {state.epoch} of {state.max_epochs}; {go_on()}"
