"""What a cross-validation leaves: its masks and measures, the bundle of its folds, and the page."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.images.image import Image
from ...data.images.writing import write_labels
from ...data.label_tables.table import LabelTable
from ...data.output_folder import OutputFolder
from ...data.progress import progressed
from ...transforms.write.regions import WriteRegionsd
from ..batch.results.case_result import FAILED
from ..batch.results.table_file import CSV_OPTIONS
from ..evaluation.metrics import LabelMetrics
from ..evaluation.results import write_results
from ..models.run_weights import weights_fingerprint
from ..reports.fit_page import FitRun, FoldRow, fit_page
from .cases import note_seen_cases
from .choices.masks import CaseMasks, one_map, with_pieces
from .combined import results_text, write_combined
from .cross_validation import CrossValidation

FOLDER = "cross_validation"
_OF_MASK = ("hints", "hint_count", "margin")  # what a row says of its mask, beside its labels


@dataclass(frozen=True)
class Outcome:
    """A cross-validation, and the trainings that become one bundle.

    Args:
        best: of what was tried.
        trainings: output folders of those that the bundle is made of.
        dataset: the dataset folder.
        iterations: of each of the trainings.
        folds: of all that was tried, for the page.
        said: sentences for both pages, such as what each network came to.
        steps: (name, command line or "", seconds).
        record: what the bundle's page says of where the details are.
    """

    best: CrossValidation
    trainings: Sequence[Path]
    dataset: Path
    iterations: Sequence[int]
    folds: Sequence[FoldRow]
    said: Sequence[str] = ()
    steps: Sequence[tuple[str, str, float]] = ()
    record: str = ""


def write_outcome(outcome: Outcome, output: OutputFolder, name: str) -> None:
    """Write cross_validation/, the bundle with its weights, and report.html.

    Args:
        output: the bundle's folder, entered.
        name: of the bundle.
    """
    best = outcome.best
    evaluation = output.folder / FOLDER
    fingerprint = weights_fingerprint(outcome.trainings)
    summary = write_cross_validation(best, evaluation, checkpoint=fingerprint)
    results = results_text(
        best,
        summary,
        dataset=outcome.dataset,
        iterations=outcome.iterations,
        said=outcome.said,
    )
    plan = write_combined(
        output,
        outcome.trainings,
        name=name,
        results=f"{results} {outcome.record}".strip(),
        keep_largest=best.keep_largest,
        smallest_piece=best.smallest_piece,
        thresholds=best.thresholds,
    )
    note_seen_cases(output, outcome.dataset)
    folds = len({row.fold for row in outcome.folds})
    run = FitRun(
        title=plan.title,
        intro=f"Trained and cross-validated on {outcome.dataset.resolve().name} in {folds} folds. "
        "Not a medical device; for research.",
        labels=plan.labels,
        dataset=outcome.dataset,
        evaluation=evaluation,
        trainings=outcome.trainings,
        folds=outcome.folds,
        choices=[*outcome.said, *best.said],
        steps=outcome.steps,
        region_values=plan.region_values,
        merge_labels={str(name): merged for name, merged in plan.merge_labels.items()},
    )
    content = fit_page(run, output)
    output.write("report.html", lambda stream: stream.write(content))


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
    masks = {case.id: case.masks for case in found.cases}
    changed: set[str] = set()
    with OutputFolder(folder) as output:
        names = {row["case"]: row["output"] for _, row in found.tables}
        for case, files in progressed(masks.items(), len(masks), "writing masks"):
            if _place(output, case, names[case], files, found):
                changed.add(case)
        rows = _case_table(_case_rows(found, changed))
        output.write("cases.csv", lambda stream: stream.write(rows))
        return write_results(output, found.rows(), failed=found.failed, checkpoint=checkpoint)


def _place(
    output: OutputFolder, case: str, name: str, masks: CaseMasks, found: CrossValidation
) -> bool:
    """The masks after the post-processing; links where that changes nothing.

    Returns:
        Whether it changes something.
    """
    plan, thresholds = found.plan, found.other_thresholds
    smallest = {plan.labels.index(label): ml for label, ml in found.smallest.items()}
    parts = [WriteRegionsd.file(label, case) for label in plan.labels[1:]] if masks.regions else []
    if smallest or thresholds:
        whole = masks.read(thresholds)
        kept = with_pieces(whole, smallest, regions=bool(parts))
        pairs = zip(whole, kept, strict=True)
        if thresholds or not all(np.array_equal(one.array, other.array) for one, other in pairs):
            table = LabelTable.of(plan.labels, plan.terminology, values=plan.region_values)
            _write(output, name, one_map(kept, plan.region_values), whole[0], table)
            for part, image, label in zip(parts, kept, plan.labels[1:], strict=False):
                _write(output, part, image.array, image, LabelTable.of(["background", label]))
            return True
    for file, source in zip([name, *parts], [masks.mask, *masks.regions], strict=True):
        _link(output, file, source)
    return False


def _write(output: OutputFolder, name: str, array: Any, like: Image, table: LabelTable) -> None:
    write_labels(output.folder / name, array, like=like, table=table, save=output.saver(name))


def _link(output: OutputFolder, name: str, source: Path) -> None:
    """A link to a mask, or a copy of it."""
    try:
        # on the real paths: from behind a link, ".." leads elsewhere
        beside = os.path.realpath((output.folder / name).parent)
        if output.link(name, os.path.relpath(os.path.realpath(source), beside)).is_file():
            return
    except (OSError, ValueError):  # no links there, or the mask is on another drive
        pass
    with open(source, "rb") as file:
        output.write(name, partial(shutil.copyfileobj, file))


def _case_rows(found: CrossValidation, changed: set[str]) -> list[dict[str, str]]:
    """The folds' rows of cases.csv, true of the masks after the post-processing.

    Args:
        changed: the cases whose masks are others than those of the folds.
    """
    measured = {case.id: case.with_pieces(found.smallest) for case in found.cases}
    rows = []
    for _, before in found.tables:
        row, case = dict(before), before["case"]
        if case in found.failed:
            row |= {"status": FAILED, "reason": found.failed[case], "output": ""}
        elif case in changed:
            told = _of_changed(measured[case])
            row |= {column: text for column, text in told.items() if column in row}
        rows.append(row)
    return rows


def _of_changed(measured: Sequence[LabelMetrics]) -> dict[str, str]:
    """Columns that speak of a mask that is another now: what was measured, the rest is empty."""
    told = dict.fromkeys(_OF_MASK, "")
    for one in measured:
        ml = one.volume_prediction_ml
        told |= {f"{one.label}_voxels": "", f"{one.label}_hu": ""}
        told[f"{one.label}_ml"] = "" if np.isnan(ml) else str(round(ml, 3))
    return told


def _case_table(rows: Sequence[Mapping[str, str]]) -> bytes:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", errors=CSV_OPTIONS["errors"])
