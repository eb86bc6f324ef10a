"""Pictures of cases: slices with the mask, and where it differs from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...data.datasets.dataset import Dataset, load_dataset
from ...data.datasets.label_map import LabelMap, label_map
from ...data.datasets.label_values import map_values
from ...data.errors import DatasetError, GridgateError
from ...data.images.reading import Image
from .case_tables import measured_cases, picture_anchor
from .page import Block, Paragraph, Picture, Section, number
from .pictures.album import Album
from .pictures.difference import difference_figure
from .pictures.figures import case_figure
from .pictures.grey_window import grey_window
from .pictures.labels import spoken
from .pictures.scans import read_scan
from .pictures.slices import View, image_view, labels_view
from .run_tables import RunTables


@dataclass(frozen=True)
class Truth:
    """The label file of a case, and what its values are in the masks.

    Args:
        file: the label file.
        channels: value in it -> value in the masks.
        unannotated: labels of the dataset that the case does not have annotated.
        labels: names of the masks' values, the background first.
    """

    file: Path
    channels: LabelMap
    unannotated: tuple[str, ...]
    labels: Sequence[str]

    def view(self, case: str, image: Image) -> View:
        """It on the grid of the scan, ignored voxels below 0."""
        found = labels_view(self.file, image)
        states = map_values(
            found.array,
            self.channels,
            case=case,
            source=str(self.file),
            channels=len(self.labels),
            unannotated=self.unannotated,
        )
        return View(states, found.spacing_mm)

    def known(self, prediction: View, truth: View) -> View:
        """A prediction where the truth can tell: without ignored voxels and unannotated labels."""
        annotated = self.channels.annotated_channels(self.unannotated, len(self.labels))
        gone = [value for value, there in enumerate(annotated) if not there]
        values = np.asarray(prediction.array)
        keep = (np.asarray(truth.array) >= 0) & ~np.isin(values, gone)
        return View(values * keep, prediction.spacing_mm)


@dataclass(frozen=True)
class CaseFiles:
    """A case of a run, each of its files read once.

    Args:
        folder: of the run; row: of its cases.csv; truth: where it is known.
    """

    folder: Path
    row: Mapping[str, str]
    truth: Truth | None = None

    @property
    def case(self) -> str:
        """Its id."""
        return self.row["case"]

    @cached_property
    def image(self) -> Image:
        """The scan."""
        return read_scan(self.row["input"])

    @cached_property
    def mask(self) -> View:
        """The mask on the scan's grid."""
        return labels_view(self.folder / self.row["output"], self.image)

    @cached_property
    def true_mask(self) -> View | None:
        """The truth there."""
        return None if self.truth is None else self.truth.view(self.case, self.image)


def outlined(truth: View) -> View:
    """A truth to draw: ignored voxels are background."""
    return View(np.asarray(truth.array).clip(min=0), truth.spacing_mm)


def names_by_value(labels: Sequence[str], region_values: Sequence[int] | None) -> list[str]:
    """Names in the order of the masks' values; "" for values that no label has.

    Args:
        labels: in the order of the network's channels, the background first.
        region_values: what each region is written as; None where labels do not overlap.

    >>> names_by_value(["background", "kidney", "tumor"], [1, 3])
    ['background', 'kidney', '', 'tumor']
    """
    if region_values is None:
        return list(labels)
    names = [labels[0], *[""] * max(region_values)]
    for name, value in zip(labels[1:], region_values, strict=True):
        names[value] = name
    return names


def evaluated_cases(
    tables: RunTables,
    dataset_dir: Path | None,
    labels: Sequence[str],
    count: int,
    album: Album,
    *,
    merge_labels: Mapping[str | int, str] | None = None,
    region_values: Sequence[int] | None = None,
) -> Section:
    """Pictures of cases from the worst to the best, and all of them as a table.

    With the truth where the dataset is given, and its labels do not overlap: a label file does not
    tell regions as one map. The page says so where it is not drawn.
    """
    dice = {
        case: {name: row.dice for name, row in measured.items()}
        for case, measured in tables.results.items()
    }
    rows = {row["case"]: row for row in tables.done}
    means = {case: _mean(values) for case, values in dice.items() if case in rows}
    truths: dict[str, Truth] = {}
    why = ""
    if dataset_dir is not None:
        try:
            truths = truths_of(load_dataset(dataset_dir), labels, merge_labels, region_values)
        except DatasetError as error:
            why = f"The truth is not drawn: {error}"
    labels = names_by_value(labels, region_values)
    chosen = spread(means, count)
    ranked = sum(not np.isnan(mean) for mean in means.values())
    blocks: list[Block] = [Paragraph(why, kind="soft")] if why and chosen else []
    for case, rank in chosen:
        files = CaseFiles(tables.folder, rows[case], truths.get(case))
        scores = {name: number(value, 3) for name, value in dice[case].items()}
        text = f"{case}, {rank} of {ranked} by mean Dice ({number(means[case], 3)})."
        caption = f"{text} Patient's right at the left."
        blocks.append(case_picture(files, labels, album, scores=scores, caption=caption))
        blocks += _difference(files, labels, album, dice[case])
    shown = [case for case, _ in chosen]
    blocks.append(measured_cases(tables.results, tables.rows, shown, tables.name))
    return Section("Cases", blocks)


def pictured(section: Section, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Which of the cases have a picture in a section."""
    there = {block.anchor for block in section.blocks if isinstance(block, Picture)}
    return [row["case"] for row in rows if picture_anchor(row["case"]) in there]


def truths_of(
    dataset: Dataset,
    labels: Sequence[str],
    merge_labels: Mapping[str | int, str] | None = None,
    region_values: Sequence[int] | None = None,
) -> dict[str, Truth]:
    """Case -> its label file, and what its values are in the masks.

    Args:
        labels, merge_labels, region_values: see label_map.

    Raises:
        DatasetError: masks have no value for a label of the dataset; labels overlap.
    """
    if region_values is not None:
        raise DatasetError("the labels are regions, which overlap")
    channels = label_map(dataset.root, labels=labels, merge_labels=merge_labels)
    return {
        case.id: Truth(case.label, channels, dataset.unannotated(case), labels)
        for case in dataset.cases
        if case.label is not None
    }


def case_picture(
    files: CaseFiles,
    labels: Sequence[str],
    album: Album,
    *,
    scores: Mapping[str, str] | None = None,
    caption: str = "",
) -> Picture | Paragraph:
    """Slices of a case with its mask; the reason where its scan, mask or truth cannot be read."""
    case = files.case
    try:
        image, truth = files.image, files.true_mask
        figure = case_figure(
            image_view(image),
            files.mask,
            truth=None if truth is None else outlined(truth),
            labels=labels,
            name=case,
            notes=scores,
            window=grey_window(image.array),
        )
    except GridgateError as error:
        return Paragraph(f"{caption or case} No picture: {error}", kind="bad")
    told = f"{case}, stored as {image.grid.orientation}. No truth is known to the program."
    with_truth = " and truth" if truth is not None else ""
    alt = f"Axial, coronal and sagittal slices of {case} with prediction{with_truth}"
    content = album.keep(case, figure)
    return Picture(content, alt=alt, caption=caption or told, anchor=picture_anchor(case))


def _difference(
    files: CaseFiles, labels: Sequence[str], album: Album, dice: Mapping[str, float]
) -> list[Block]:
    """Where a case's worst label differs from the truth; nothing where that is not known."""
    known = {name: value for name, value in dice.items() if not np.isnan(value) and name in labels}
    if files.truth is None or not known:
        return []
    label = min(known, key=lambda name: known[name])
    try:
        truth = files.true_mask
        assert truth is not None
        figure = difference_figure(
            image_view(files.image),
            files.truth.known(files.mask, truth),
            outlined(truth),
            label=list(labels).index(label),
            labels=labels,
            name=files.case,
            note=f"Dice {number(known[label], 3)}, the lowest of its labels",
        )
    except GridgateError:  # the picture above says why
        return []
    alt = f"Truth, prediction and difference of {spoken(label)} in {files.case}, in three planes"
    return [Picture(album.keep(f"{files.case}_difference", figure), alt=alt)]


def spread(means: Mapping[str, float], count: int) -> list[tuple[str, str]]:
    """Cases from worst to best, evenly spread over the ranking, with their place in words.

    Those without a number, of which nothing was to be found and nothing was, have no place.
    """
    measured = [case for case in means if not np.isnan(means[case])]
    ranked = sorted(measured, key=lambda case: means[case])
    if not ranked or count < 1:
        return []
    last = len(ranked) - 1
    places = sorted({round(place) for place in np.linspace(0, last, min(count, len(ranked)))})
    words = {0: "the worst", last: "the best"} if last else {0: "the only one"}
    return [(ranked[place], words.get(place, f"number {last + 1 - place}")) for place in places]


def _mean(values: Mapping[str, float]) -> float:
    known = [value for value in values.values() if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
