"""report.html of a fit: how good the bundle is by cross-validation, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...data.output_folder import OutputFolder
from ..training.folder.training_table import read_training_record
from . import cases, page, sections
from .case_tables import first_to_look_at
from .page import Cell, Column, Paragraph, Picture, Section, SideBySide, Table, number
from .pictures.album import Album
from .pictures.curves import folds_figure
from .pictures.figures import png
from .quality import quality
from .run_tables import RunTables

_PICTURES = 4


class FoldRow(NamedTuple):
    """What a training of a fold came to; `dice` is the mean over labels on the fold's cases."""

    network: str
    fold: int
    iterations: int
    seconds: float
    dice: float | None


@dataclass(frozen=True)
class FitRun:
    """What the page is about.

    Args:
        title: of the bundle.
        intro: what it was trained on.
        labels: names in the order of the network's channels, the background first.
        dataset: the dataset folder.
        evaluation: the folder with all cases of the cross-validation.
        trainings: output folders of the folds that the bundle is made of.
        folds: of each network.
        choices: sentences about what cross-validation decided.
        steps: (name, command line or "", seconds).
        region_values: what each of overlapping labels is written as.
        merge_labels: of the trainings: label of the dataset -> label that it counts as.
    """

    title: str
    intro: str
    labels: Sequence[str]
    dataset: Path
    evaluation: Path
    trainings: Sequence[Path]
    folds: Sequence[FoldRow]
    choices: Sequence[str]
    steps: Sequence[tuple[str, str, float]]
    region_values: Sequence[int] | None = None
    merge_labels: Mapping[str | int, str] | None = None


def fit_page(run: FitRun, output: OutputFolder) -> bytes:
    """The page; its pictures are written to the folder `pictures` of the output, too.

    Raises:
        DatasetError: the evaluation's tables are damaged.
        OutputError: a picture cannot be written, or another file is in its place.
    """
    album = Album.of(output)
    tables = RunTables(run.evaluation)
    summary = tables.summary
    parts = [
        first_to_look_at([], summary["failed"], ()),  # hints are of masks before the choices
        quality(tables, album),
        _choices(run),
        cases.evaluated_cases(
            tables,
            run.dataset,
            run.labels,
            _PICTURES,
            album,
            region_values=run.region_values,
            merge_labels=run.merge_labels,
        ),
        _trainings(run, album),
        sections.how(run.steps),
    ]
    return page.render(
        page.Page(
            title=run.title,
            intro=run.intro,
            key_numbers=_key_numbers(run, summary),
            sections=[part for part in parts if part is not None],
        )
    )


def _key_numbers(run: FitRun, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("mean Dice", number(summary["mean"]["dice"], 3)),
        ("cases measured", str(summary["cases"])),
        ("networks in the bundle", str(len(run.trainings))),
        ("time", page.duration(sum(seconds for _, _, seconds in run.steps))),
    ]


def _choices(run: FitRun) -> Section:
    rows = [
        (
            f"{network}, fold {fold + 1}",
            [
                Cell(f"{iterations:,}", number=True),
                Cell(page.duration(seconds), number=True),
                Cell(number(dice, 3), share=dice or 0.0),
            ],
        )
        for network, fold, iterations, seconds, dice in run.folds
    ]
    columns = [Column("training"), Column("iterations", True), Column("time", True), Column("Dice")]
    caption = "Dice: the mean over labels on the fold's own cases, before post-processing."
    said = [Paragraph(text) for text in run.choices]
    return Section("Folds and choices", [Table(columns, rows, caption=caption), *said])


def _trainings(run: FitRun, album: Album) -> Section:
    folds = [rows for rows in map(read_training_record, run.trainings) if rows]
    if not folds:
        return Section("Training", [Paragraph("No training looked at a case meanwhile.")])
    told = {
        "loss": ("Training loss", "Training loss per fold"),
        "dice_mean": ("Mean Dice on a few cases", "Mean Dice of a few validation cases per fold"),
    }
    pictures = []
    for column, (title, alt) in told.items():
        light, dark = (folds_figure(folds, column, title, dark=one) for one in (False, True))
        pictures.append(Picture(album.keep(column, light), alt=alt, dark=png(dark)))
    text = (
        "While a network trains, a few cases of its fold are looked at now and then. Nothing is "
        "chosen by them: the weights are the average of the end."
    )
    return Section("Training", [Paragraph(text), SideBySide(pictures)])
