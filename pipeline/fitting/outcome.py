"""What a cross-validation leaves: its masks and measures, the bundle of its folds, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.output_folder import OutputFolder
from ..models.run_weights import weights_fingerprint
from ..reports.fit_page import FitRun, FoldRow, fit_page
from .cases import note_seen_cases
from .combined import results_text, write_combined
from .cross_validation import FOLDER, CrossValidation, write_cross_validation


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
    )
    content = fit_page(run, output)
    output.write("report.html", lambda stream: stream.write(content))
