"""report.html of an evaluation and of a run over scans: what a bundle's workflow leaves.

A page is the last thing of a run. Where it cannot be made, the run says so and is as good as
without: its masks and tables are there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError, GridgateError
from ...data.label_tables.files import JSON
from ...data.label_tables.reading import read_table
from ...data.output_folder import OutputFolder
from ..batch.results.page_file import PAGE, refuse_bundles_page, remove_page
from ..evaluation.results import METRICS_FILE, read_results
from ..training.folder.provenance import typed_command
from . import cases, page, sections
from .case_tables import first_to_look_at
from .page import Section, number
from .pictures.album import Album
from .quality import quality
from .run_tables import RunTables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationPage:
    """Writes OUTPUT/report.html of an evaluation.

    Args:
        title: of the bundle.
        labels: names in the order of the network's channels, the background first.
        dataset_dir: the dataset, for the truth in the pictures; None draws none.
        pictures: cases to show, from the worst to the best.
        merge_labels: labels of the dataset -> those that they are counted as.
        region_values: what each of overlapping labels is written as.
        tells_how: whether the command and the machine are told.
    """

    title: str
    labels: Sequence[str]
    dataset_dir: str | Path | None
    pictures: int = 3
    merge_labels: Mapping[str | int, str] | None = None
    region_values: Sequence[int] | None = None
    tells_how: bool = True

    def __call__(self, output: OutputFolder) -> bool:
        """Write it to the folder in which the tables lie; whether that went well."""
        return _write(output, self._page)

    def _page(self, folder: Path) -> page.Page:
        album = Album.inside_the_page()
        tables = RunTables(folder)
        summary = tables.summary
        dataset = None if self.dataset_dir is None else Path(self.dataset_dir)
        shown = cases.evaluated_cases(
            tables,
            dataset,
            self.labels,
            self.pictures,
            album,
            merge_labels=self.merge_labels,
            region_values=self.region_values,
        )
        parts = [
            first_to_look_at(tables.rows, summary["failed"], cases.pictured(shown, tables.rows)),
            quality(tables, album) if summary["labels"] else None,
            shown,
        ]
        numbers = [
            ("mean Dice", number(summary["mean"]["dice"], 3)),
            ("cases measured", str(summary["cases"])),
            ("failed", str(len(summary["failed"]))),
        ]
        intro = "" if dataset is None else f"Measured on {dataset.resolve().name}."
        return _whole(self.title, intro, numbers, parts, self.tells_how)


@dataclass(frozen=True)
class InferencePage:
    """Writes OUTPUT/report.html of a run over scans.

    Args:
        title: of the bundle.
        labels: names in the order of the network's channels, the background first.
        pictures: masks to show, those with most hints first.
        region_values: what each of overlapping labels is written as.
        tells_how: whether the command and the machine are told.
    """

    title: str
    labels: Sequence[str]
    pictures: int = 3
    region_values: Sequence[int] | None = None
    tells_how: bool = True

    def __call__(self, output: OutputFolder) -> bool:
        """Write it to the folder in which cases.csv lies; whether that went well."""
        return _write(output, self._page)

    def _page(self, folder: Path) -> page.Page:
        tables = RunTables(folder)
        hinted = sum((row.get("hint_count") or "0") != "0" for row in tables.rows)
        names = cases.names_by_value(self.labels, self.region_values)
        masks = sections.predictions(tables, names, self.pictures, Album.inside_the_page())
        parts = [
            first_to_look_at(tables.rows, tables.failed, cases.pictured(masks, tables.rows)),
            masks,
        ]
        numbers = [
            ("masks", str(len(tables.done))),
            ("failed", str(len(tables.failed))),
            ("with hints", str(hinted)),
        ]
        return _whole(self.title, "", numbers, parts, self.tells_how)


def page_of_folder(
    folder: Path,
    *,
    title: str | None = None,
    dataset_dir: str | Path | None = None,
    merge_labels: Mapping[str | int, str] | None = None,
    pictures: int = 3,
) -> EvaluationPage | InferencePage:
    """The page of a run that is known by its folder alone.

    Args:
        title: None: the folder's name.
        dataset_dir: that was evaluated, for the truth in the pictures.
        merge_labels: labels of the dataset -> those that they are counted as.
        pictures: cases to show.

    Raises:
        ConfigError: it is no folder of a run, or of one over scans with a dataset.
    """
    if not (folder / "cases.csv").is_file():
        raise ConfigError(f"{folder}: is no folder of a run, which has cases.csv")
    measured = (folder / METRICS_FILE).is_file()
    names = read_table(folder / JSON) or (_measured_names(folder) if measured else {})
    if not names:
        raise ConfigError(f"{folder / JSON}: names no labels; the run wrote it")
    # in the order of their values, which regions need not be
    values = sorted(names)
    labels = ["background", *(names[value] for value in values)]
    regions = None if values == list(range(1, len(values) + 1)) else values
    told: dict[str, Any] = {"title": title or folder.resolve().name, "labels": labels}
    told |= {"pictures": pictures, "region_values": regions, "tells_how": False}
    if measured:
        return EvaluationPage(**told, dataset_dir=dataset_dir, merge_labels=merge_labels)
    if dataset_dir is not None:
        raise ConfigError(f"--dataset is for an evaluation; {folder} holds no {METRICS_FILE}")
    return InferencePage(**told)


def _measured_names(folder: Path) -> dict[int, str]:
    """Value -> label of metrics.csv, for a fit's folder, which has no table of labels."""
    return {row.value: row.label for of in read_results(folder).values() for row in of.values()}


def _whole(
    title: str,
    intro: str,
    numbers: Sequence[tuple[str, str]],
    parts: Sequence[Section | None],
    tells_how: bool,
) -> page.Page:
    kept = [part for part in parts if part is not None]
    if tells_how:
        kept.append(sections.how([("", typed_command(), 0.0)], timed=False))
    return page.Page(title=title, intro=intro, key_numbers=numbers, sections=kept)


def _write(output: OutputFolder, make: Callable[[Path], page.Page]) -> bool:
    path = output.folder / PAGE
    began = time.monotonic()
    try:
        with output:
            refuse_bundles_page(output)
            output.refuse_foreign([PAGE])
            content = page.render(make(output.folder))
            output.write(PAGE, lambda stream: stream.write(content))
    except GridgateError as error:
        logger.warning("no page: %s", error)
        remove_page(output)
        return False
    except Exception as error:  # whatever it is: a page is no reason to fail a run
        logger.warning("%s: no page: %s", path, error, exc_info=True)
        remove_page(output)
        return False
    logger.info("%s, made in %s", path, page.duration(time.monotonic() - began))
    return True
