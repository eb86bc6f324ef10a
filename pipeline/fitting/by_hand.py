"""Folds that were trained and evaluated one by one, put together as a fit puts its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.datasets.dataset import load_dataset
from ...data.errors import ConfigError
from ...data.new_folder import new_folder, refuse_existing
from ...data.output_folder import OutputFolder
from ..batch.results.table_file import read_case_table
from ..evaluation.results import read_summary
from ..inference.window_engine import INT8_MARK
from ..models.run_weights import weights_fingerprint
from ..plans.plan import Plan
from ..reports.fit_page import FoldRow
from ..training.folder.run_folder import check_unseen
from ..training.folder.run_record import read_run
from ..training.folder.training_table import epochs_made, read_training_record
from .combined import plans_of
from .cross_validation import cross_validate
from .outcome import Outcome, write_outcome

logger = logging.getLogger(__name__)

_KEPT = (
    "The weights of a fold are those of its best validation, so that the cases it is measured on "
    "had part in choosing them."
)
_HOW = "--keep_largest false --smallest_piece null"


def combine(
    dataset: Path, trainings: Sequence[Path], evaluations: Sequence[Path], folder: Path
) -> Path:
    """Choose thresholds and post-processing by cross-validation, and make one bundle of all folds.

    Args:
        dataset: the dataset folder.
        trainings: output folders of `gridgate train`, two or more.
        evaluations: output folders of `gridgate evaluate` with all pieces kept, one for each
            training, in any order.
        folder: of the bundle; it is there complete, or not at all.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists; an evaluation is of other weights, of cases that they were
            trained on, or measured masks that had lost pieces.
        CheckpointError: see combined.plans_of.
        DatasetError: an evaluation cannot be read, or two measured the same case.
    """
    refuse_existing(folder)
    if len(trainings) < 2 or len(set(map(Path.resolve, trainings))) < len(trainings):
        raise ConfigError("--trainings: give two or more different ones, one for each fold")
    plan = plans_of(trainings)[0]
    pairs = _paired(trainings, evaluations, plan)
    found = cross_validate(str(plan.network["name"]), plan, dataset, [one for _, one in pairs])
    missing = len(load_dataset(dataset).cases) - len(found.cases) - len(found.failed)
    if missing:
        logger.warning(f"{missing} cases of {dataset} were measured by none of the evaluations")
    rows = [_fold_row(training, evaluation) for training, evaluation in pairs]
    chosen_by = {str(_settings(training).get("keep")) for training, _ in pairs}
    outcome = Outcome(
        found,
        trainings=[training for training, _ in pairs],
        dataset=dataset,
        iterations=[row.iterations for row in rows],
        folds=rows,
        said=[_KEPT] if "best" in chosen_by else [],
        steps=[(f"train {row.network} {row.fold}", "", row.seconds) for row in rows],
    )
    with new_folder(folder) as work, OutputFolder(work) as output:
        write_outcome(outcome, output, folder.resolve().name)
    return folder


def _paired(
    trainings: Sequence[Path], evaluations: Sequence[Path], plan: Plan
) -> list[tuple[Path, Path]]:
    """Each training with its evaluation."""
    of_weights = {weights_fingerprint(training): training for training in trainings}
    found: dict[Path, Path] = {}
    for evaluation in evaluations:
        summary = read_summary(evaluation)
        weights, in_int8, _ = str(summary.get("checkpoint")).partition(INT8_MARK)
        training = of_weights.get(weights)
        if in_int8:
            raise ConfigError(
                f"{evaluation}: was run with --engine int8, and the folds are measured in float32; "
                "evaluate again without it"
            )
        if training is None:
            known = ", ".join(map(str, trainings))
            raise ConfigError(
                f"{evaluation}: measures other weights than those of {known}; evaluate each of them"
            )
        if training in found:
            raise ConfigError(f"{evaluation} and {found[training]} measure the same {training}")
        why = _lost_pieces(summary) or _run_otherwise(summary, plan)
        if why is not None:
            raise ConfigError(
                f"{evaluation}: {why}; measure it again: `gridgate evaluate {training} DATASET "
                f"EVALUATION --fold {_settings(training).get('fold', 0)} {_HOW}`"
            )
        check_unseen(training, [row["case"] for row in read_case_table(evaluation / "cases.csv")])
        found[training] = evaluation
    lacking = [training for training in trainings if training not in found]
    if lacking:
        raise ConfigError(
            f"{lacking[0]}: none of --evaluations measures it; make one by `gridgate evaluate "
            f"{lacking[0]} DATASET EVALUATION --fold {_settings(lacking[0]).get('fold', 0)} {_HOW}`"
        )
    return [(training, found[training]) for training in trainings]


def _lost_pieces(summary: Mapping[str, Any]) -> str | None:
    """Why an evaluation cannot tell which pieces to keep; None where it can."""
    changed = summary.get("post_processing")
    if changed is None:
        return "does not tell whether its masks had lost pieces"
    if changed:
        return f"its masks had been through {', '.join(changed)}, so that pieces are lost"
    return None


def _run_otherwise(summary: Mapping[str, Any], plan: Plan) -> str | None:
    """How an evaluation was run otherwise than the bundle will be; None where it was not."""
    wanted = {
        "overlap": plan.overlap,
        "blend": plan.blend,
        "padding": plan.padding,
        "mirror_axes": plan.test_mirror_axes,
        "side_pairs": plan.side_pairs,
        "body_threshold": plan.body_threshold,
        "region": None,
        "fit_region": False,
        "interpolate_probabilities": plan.interpolate_probabilities,
        "thresholds": plan.thresholds,
    }
    before = {"blend": "gaussian", "padding": None}  # of evaluations that do not tell them
    ran = before | (summary.get("settings") or {})
    for name, value in wanted.items():
        if name not in ran:
            return f"does not tell its {name}"
        if ran[name] != value:
            theirs, ours = json.dumps(ran[name]), json.dumps(value)
            return f"was run with --{name} {theirs}, the bundle has {ours}"
    return None


def _fold_row(training: Path, evaluation: Path) -> FoldRow:
    settings = _settings(training)
    record = read_training_record(training)
    made = epochs_made(training, settings) * int(settings.get("iterations_per_epoch", 0))
    return FoldRow(
        network=str(plans_of([training])[0].network["name"]),
        fold=int(settings.get("fold", 0)),
        iterations=made or int(record[-1]["iteration"] if record else 0),
        seconds=float(record[-1]["seconds"]) if record else 0.0,
        dice=read_summary(evaluation)["mean"]["dice"],
    )


def _settings(training: Path) -> dict[str, Any]:
    found = read_run(training)
    return {} if found is None else found.settings
