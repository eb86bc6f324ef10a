"""The folds' evaluations put together: every case measured by a network that did not see it."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.datasets.label_map import label_map
from ...data.datasets.parts import dataset_cases
from ...data.errors import DatasetError
from ...data.images.reading import read_labels, write_labels
from ...data.label_tables.table import LabelTable
from ...data.output_folder import OutputFolder
from ...data.progress import progressed
from ..batch.results.case_result import DONE
from ..batch.results.table_file import CSV_OPTIONS, read_case_table
from ..evaluation.metrics import LabelMetrics
from ..evaluation.results import read_results, write_results
from ..plans.plan import Plan
from .components import (
    ComponentsChoice,
    MeasuredCase,
    choose_components,
    largest_pieces,
    measured_case,
)

FOLDER = "cross_validation"


@dataclass(frozen=True)
class CrossValidation:
    """All folds of one network, or of several whose scores were averaged.

    Args:
        name: of the network, or "a + b".
        plan: its own.
        cases: all that were measured.
        failed: case -> why it was not.
        choices: of each label, whether its largest piece alone is kept.
        tables: the folds' rows of cases.csv, with the folder that they speak of.
    """

    name: str
    plan: Plan
    cases: Sequence[MeasuredCase]
    failed: Mapping[str, str]
    choices: Sequence[ComponentsChoice]
    tables: Sequence[tuple[Path, dict[str, str]]]

    @property
    def kept(self) -> list[str]:
        """Labels of which the largest piece alone is kept."""
        return [choice.label for choice in self.choices if choice.keep]

    @property
    def keep_largest(self) -> bool | list[int]:
        """The setting of that name."""
        if not self.choices:  # regions: as planned
            return self.plan.keep_largest
        if len(self.kept) in (0, len(self.choices)):
            return bool(self.kept)
        return [self.plan.labels.index(name) for name in self.kept]

    def rows(self) -> list[tuple[str, LabelMetrics]]:
        """(case, metrics of a label) after the choices."""
        return [(case.id, row) for case in self.cases for row in case.with_largest(self.kept)]

    @property
    def dice(self) -> float:
        """Mean over the labels of their mean Dice over cases; NaN where nothing was measured."""
        means = []
        for name in self.plan.labels[1:]:
            known = [row.dice for _, row in self.rows() if row.label == name]
            known = [value for value in known if not np.isnan(value)]
            means += [float(np.mean(known))] if known else []
        return float(np.mean(means)) if means else float("nan")


def cross_validate(
    name: str, plan: Plan, dataset: Path, evaluations: Sequence[Path]
) -> CrossValidation:
    """Put the evaluations of all folds together, and choose the post-processing.

    Args:
        plan: of the trained networks.
        dataset: the dataset folder.
        evaluations: output folders of the evaluations, made with --keep_largest false; a bundle
            with regions as planned.

    Raises:
        DatasetError: an evaluation is not there, or two measured the same case.
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
    metrics: dict[str, dict[str, LabelMetrics]] = {}
    for folder in evaluations:
        found = read_results(folder)
        twice = sorted(set(found) & set(metrics))
        if twice:
            raise DatasetError(f"{folder}: {twice[0]} was measured in another fold, too")
        metrics |= found
    failed = {row["case"]: row["reason"] for _, row in tables if row["status"] != DONE}
    done = [(folder, row) for folder, row in tables if row["case"] in metrics]
    cases = []
    for folder, row in progressed(done, len(done), "choosing the post-processing"):
        case = row["case"]
        mask, label = folder / row["output"], Path(items[case]["label"])
        if plan.region_values is not None:
            cases.append(MeasuredCase(case, mask, label, (), metrics[case], {}))
            continue
        told: dict[str, Any] = {"labels": plan.labels, "label_map": known}
        told["unannotated"] = items[case].get("unannotated", ())
        cases.append(measured_case(case, mask, label, metrics[case], **told))
    choices = [] if plan.region_values is not None else choose_components(cases, plan.labels)
    return CrossValidation(name, plan, cases, failed, choices, tables)


def write_cross_validation(
    found: CrossValidation, folder: Path, *, checkpoint: str
) -> dict[str, Any]:
    """Write the masks after the chosen post-processing, cases.csv, metrics.csv and summary.json.

    Masks that stay as they are become links to those of the folds.

    Args:
        folder: the output folder.
        checkpoint: fingerprint of the weights that the folds have together.

    Returns:
        What summary.json holds.
    """
    values = [found.plan.labels.index(name) for name in found.kept]
    masks = {case.id: case.mask for case in found.cases}
    with OutputFolder(folder) as output:
        names = {row["case"]: row["output"] for _, row in found.tables}
        names_and_colours = LabelTable.of(found.plan.labels, found.plan.terminology)
        for case, mask in progressed(masks.items(), len(masks), "writing masks"):
            _place(output, names[case], mask, values, names_and_colours)
        rows = _case_table([row for _, row in found.tables])
        output.write("cases.csv", lambda stream: stream.write(rows))
        return write_results(output, found.rows(), failed=found.failed, checkpoint=checkpoint)


def _place(
    output: OutputFolder, name: str, mask: Path, values: Sequence[int], table: LabelTable
) -> None:
    """The mask after the post-processing; a link where that changes nothing."""
    path = output.folder / name
    if values:
        image = read_labels(mask)
        whole = np.ascontiguousarray(image.array)
        largest = largest_pieces(whole, values)
        if not np.array_equal(whole, largest):
            write_labels(
                path,
                largest,
                like=image,
                table=table,
                save=lambda _, write: output.write(name, write),
            )
            return
    try:
        output.link(name, os.path.relpath(mask, path.parent))
    except OSError:  # no links there
        with open(mask, "rb") as source:
            output.write(name, lambda stream: shutil.copyfileobj(source, stream))


def _case_table(rows: Sequence[dict[str, str]]) -> bytes:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", errors=CSV_OPTIONS["errors"])
