"""The folds' evaluations put together: every case measured by a network that did not see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...data.datasets.label_map import label_map
from ...data.datasets.parts import dataset_cases
from ...data.errors import DatasetError
from ...data.label_tables.measured import Measured
from ...data.progress import progressed
from ...transforms.restore.thresholds import HALF
from ..batch.results.case_result import DONE
from ..batch.results.table_file import read_case_table
from ..evaluation.levels import dice_of_levels
from ..evaluation.metrics import LabelMetrics
from ..evaluation.results import read_results, read_summary
from ..plans.plan import Plan
from .choices.components import ComponentsChoice, MeasuredCase, choose_components, measured_case
from .choices.gain import mean_dice
from .choices.masks import ALL, LARGEST, TRIED, CaseMasks
from .choices.piece_volumes import piece_candidates, piece_volumes
from .choices.thresholds import ThresholdChoice, choose_thresholds

_MOST_NAMED = 5


@dataclass(frozen=True)
class CrossValidation:
    """All folds of one network, or of several whose scores were averaged.

    Args:
        name: of the network, or "a + b".
        plan: its own.
        cases: all that were measured.
        failed: case -> why it was not.
        tried: of each region, or of the one label of a single output channel, its threshold; none
            where none were tried.
        choices: of each label, which of its pieces are kept.
        tables: the folds' rows of cases.csv, with the folder that they speak of.
    """

    name: str
    plan: Plan
    cases: Sequence[MeasuredCase]
    failed: Mapping[str, str]
    tried: Sequence[ThresholdChoice]
    choices: Sequence[ComponentsChoice]
    tables: Sequence[tuple[Path, dict[str, str]]]

    @property
    def smallest(self) -> dict[str, float]:
        """Label -> what a piece has to have to stay, of labels that do not keep all."""
        found = {choice.label: choice.smallest for choice in self.choices}
        return {name: smallest for name, smallest in found.items() if smallest != ALL}

    @property
    def keep_largest(self) -> bool | list[int]:
        """The setting of that name."""
        kept = [name for name, smallest in self.smallest.items() if smallest == LARGEST]
        if len(kept) in (0, len(self.choices)):
            return bool(kept)
        return [self.plan.labels.index(name) for name in kept]

    @property
    def smallest_piece(self) -> dict[str, float] | None:
        """The setting of that name."""
        return {name: ml for name, ml in self.smallest.items() if ml != LARGEST} or None

    @property
    def other_thresholds(self) -> list[float] | None:
        """Those that were chosen; None where the masks have them already."""
        chosen = [choice.threshold for choice in self.tried]
        return chosen if any(threshold != HALF for threshold in chosen) else None

    @property
    def thresholds(self) -> list[float] | None:
        """The setting of that name."""
        return self.other_thresholds or self.plan.thresholds

    @property
    def said(self) -> list[str]:
        """A sentence per choice."""
        return [*map(str, self.tried), *map(str, self.choices)]

    def rows(self) -> list[tuple[str, LabelMetrics]]:
        """(case, metrics of a label) after the choices."""
        return [(case.id, row) for case in self.cases for row in case.with_pieces(self.smallest)]

    @property
    def dice(self) -> float:
        """See dice_on; of all cases."""
        return self.dice_on({case.id for case in self.cases})

    def dice_on(self, cases: Collection[str]) -> float:
        """Mean over the labels of their mean Dice over cases; NaN where nothing was measured."""
        rows = [row for case, row in self.rows() if case in cases]
        names = self.plan.labels[1:]
        return mean_dice([mean_dice([r.dice for r in rows if r.label == name]) for name in names])


def cross_validate(
    name: str,
    plan: Plan,
    dataset: Path,
    evaluations: Sequence[Path],
    *,
    chooses_largest: bool = True,
) -> CrossValidation:
    """Put the evaluations of all folds together, and choose the post-processing.

    First the thresholds, where the evaluations tell of several, then what is kept of the pieces.

    Args:
        plan: of the trained networks.
        dataset: the dataset folder.
        evaluations: output folders of the evaluations, made with --keep_largest false and
            --smallest_piece null, and perhaps --try_thresholds.
        chooses_largest: False: labels keep their largest piece alone where the plan says so.

    Raises:
        DatasetError: an evaluation is not there, two measured a case, or the dataset lacks one.
    """
    known = label_map(
        dataset_dir=dataset,
        labels=plan.labels,
        merge_labels={str(name): merged for name, merged in plan.merge_labels.items()},
        region_values=plan.region_values,
    )
    items = {item["id"]: item for item in dataset_cases(dataset, part="all")}
    tables = [
        (folder, row) for folder in evaluations for row in read_case_table(folder / "cases.csv")
    ]
    metrics = _metrics(evaluations)
    failed = _failed(evaluations, tables)
    _refuse_unknown(dataset, sorted(set(metrics) - {one for one in items if "label" in items[one]}))
    masks = _masks(tables, metrics, plan)

    def told(case: str) -> dict[str, Any]:
        unannotated = items[case].get("unannotated", ())
        label = Path(items[case]["label"])
        of_all = {"labels": plan.labels, "label_map": known}
        return {"case": case, "label": label, "unannotated": unannotated, **of_all}

    tried = _choose_thresholds(plan, masks, told)
    found = CrossValidation(name, plan, [], failed, tried, [], tables)
    candidates = _piece_candidates(plan, masks, told)
    more: dict[str, Any] = {"region_values": plan.region_values, "candidates": candidates}
    more["thresholds"] = found.other_thresholds
    # tables tell of no single lesion, so that what is measured again does not either
    more["how"] = Measured(Measured.of(plan.measured, plan.labels).tolerances_mm)
    cases = [
        measured_case(masks=files, metrics=metrics[case], **told(case), **more)
        for case, files in progressed(masks.items(), len(masks), "choosing the post-processing")
    ]
    largest = None if chooses_largest else _largest(plan)
    choices = choose_components(cases, plan.labels, candidates, largest=largest)
    return replace(found, cases=cases, choices=choices)


def compared(tried: Sequence[CrossValidation]) -> tuple[CrossValidation, list[str]]:
    """The best of several, by the mean Dice on the cases that all of them measured.

    Args:
        tried: of each network; of equal ones the first is taken.

    Returns:
        It, and a sentence for each where there are several.
    """
    each = [{case.id for case in one.cases} for one in tried]
    cases = set.intersection(*each)
    dice = [one.dice_on(cases) for one in tried]
    best = max(range(len(tried)), key=dice.__getitem__)
    if len(tried) == 1:
        return tried[best], []
    on = "" if cases == set.union(*each) else f" on the {len(cases)} cases that all measured"
    said = [f"{one.name}: mean Dice {d:.4f}{on}." for one, d in zip(tried, dice, strict=True)]
    return tried[best], said


def _largest(plan: Plan) -> set[str]:
    """The labels of which a plan keeps the largest piece alone."""
    if isinstance(plan.keep_largest, bool):
        return set(plan.labels[1:]) if plan.keep_largest else set()
    return {plan.labels[value] for value in plan.keep_largest}


def _metrics(evaluations: Sequence[Path]) -> dict[str, dict[str, LabelMetrics]]:
    metrics: dict[str, dict[str, LabelMetrics]] = {}
    for folder in evaluations:
        found = read_results(folder)
        twice = sorted(set(found) & set(metrics))
        if twice:
            raise DatasetError(f"{folder}: {twice[0]} was measured in another fold, too")
        metrics |= found
    return metrics


def _masks(
    tables: Sequence[tuple[Path, dict[str, str]]], measured: Collection[str], plan: Plan
) -> dict[str, CaseMasks]:
    return {
        row["case"]: CaseMasks.of(folder, row["case"], row["output"], plan)
        for folder, row in tables
        if row["case"] in measured
    }


def _failed(
    evaluations: Sequence[Path], tables: Sequence[tuple[Path, dict[str, str]]]
) -> dict[str, str]:
    """Case -> why it was not measured."""
    failed = {row["case"]: row["reason"] for _, row in tables if row["status"] != DONE}
    for folder in evaluations:  # a mask may be there, and not be measured
        failed |= read_summary(folder).get("failed") or {}
    return failed


def _refuse_unknown(dataset: Path, cases: Sequence[str]) -> None:
    """Refuse a dataset that lacks cases that were measured."""
    if cases:
        more = ", ..." if len(cases) > _MOST_NAMED else ""
        raise DatasetError(
            f"{dataset}: {len(cases)} of the measured cases are not there with a label: "
            f"{', '.join(cases[:_MOST_NAMED])}{more}; give the dataset that was evaluated"
        )


def _piece_candidates(
    plan: Plan, masks: Mapping[str, CaseMasks], told: Callable[[str], dict[str, Any]]
) -> dict[str, list[float]]:
    """Label -> ml to try; where the plan says some, these alone."""
    if plan.smallest_piece is not None:
        return {name: [float(ml)] for name, ml in plan.smallest_piece.items()}
    volumes = [
        piece_volumes(**told(case))
        for case in progressed(masks, len(masks), "measuring pieces of the labels")
    ]
    return piece_candidates(volumes)


def _choose_thresholds(
    plan: Plan,
    masks: Mapping[str, CaseMasks],
    told: Callable[[str], dict[str, Any]],
) -> list[ThresholdChoice]:
    """Of each label its threshold; none where an evaluation did not try any.

    Args:
        told: of a case what measuring it needs.
    """
    if not masks or not all(files.levels for files in masks.values()):
        return []
    dice = [
        dice_of_levels(files.levels, count=len(TRIED), **told(case))
        for case, files in progressed(masks.items(), len(masks), "choosing the thresholds")
    ]
    return choose_thresholds(dice, plan.labels)
