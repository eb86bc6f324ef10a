"""report.html: one file that shows what was trained, how good it is, and what came of each case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.files import write_atomically
from . import cases, page, sections
from .case_tables import first_to_look_at
from .pictures.album import Album
from .quality import quality
from .run_tables import RunTables


@dataclass(frozen=True)
class Run:
    """What a report is about; parts that are None are left out of it.

    Args:
        title: heading of the page.
        intro: what the data are, a sentence or two.
        labels: names in the order of the values, the background first.
        training_dir, evaluation_dir, predictions_dir: output folders of the three workflows.
        dataset_dir: the dataset that was evaluated.
        bundle_dir: for the attention coefficients, with `checkpoint`.
        commands: (step, its command line as typed or "", seconds it took).
        pictures: cases of the evaluation to show.
    """

    title: str
    labels: Sequence[str]
    intro: str = ""
    training_dir: Path | None = None
    evaluation_dir: Path | None = None
    predictions_dir: Path | None = None
    dataset_dir: Path | None = None
    bundle_dir: Path | None = None
    checkpoint: Path | None = None
    commands: Sequence[tuple[str, str, float]] = field(default_factory=tuple)
    pictures: int = 3


def write_report(path: str | Path, run: Run) -> Path:
    """Write the page to `path`, and its pictures as PNG files to the folder `pictures` beside it.

    A case whose scan or mask cannot be read is in the page without a picture, with the reason.

    Raises:
        DatasetError: the evaluation's summary.json or metrics.csv is missing or damaged.
        OutputError: they cannot be written.

    Example:
        >>> from gridgate.pipeline.reports.report import Run, write_report
        >>> run = Run("Liver", ["background", "liver"], predictions_dir=Path("masks"))
        >>> write_report("report.html", run)  # doctest: +SKIP
    """
    path = Path(path)
    content = page.render(_page(run, Album(path.parent / "pictures")))
    write_atomically(path, lambda stream: stream.write(content))
    return path


def _page(run: Run, album: Album) -> page.Page:
    parts: list[page.Section | None] = []
    summary = None
    if run.evaluation_dir is not None:
        evaluated = RunTables(run.evaluation_dir)
        summary = evaluated.summary
        parts.append(first_to_look_at([], summary["failed"], ()))
        parts.append(quality(evaluated, album))
        parts.append(
            cases.evaluated_cases(evaluated, run.dataset_dir, run.labels, run.pictures, album)
        )
    if run.training_dir is not None:
        parts.append(sections.training(run.training_dir, album))
    if run.bundle_dir is not None and run.checkpoint is not None and run.evaluation_dir is not None:
        parts.append(sections.attention(run.bundle_dir, run.checkpoint, run.evaluation_dir, album))
    if run.predictions_dir is not None:
        predicted = RunTables(run.predictions_dir)
        parts.append(first_to_look_at(predicted.rows, predicted.failed, ()))
        parts.append(sections.predictions(predicted, run.labels, run.pictures, album))
    parts.append(sections.how(run.commands))
    return page.Page(
        title=run.title,
        intro=run.intro,
        key_numbers=[] if summary is None else _key_numbers(run, summary),
        sections=[part for part in parts if part is not None],
    )


def _key_numbers(run: Run, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers = [
        ("mean Dice", page.number(summary["mean"]["dice"], 3)),
        ("cases measured", str(summary["cases"])),
    ]
    seconds = sum(took for _, _, took in run.commands)
    if seconds:
        numbers.append(("time until this page", page.duration(seconds)))
    return numbers
