"""How good masks are, label by label: means, the spread over cases, lesions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..evaluation.metrics import LabelMetrics
from .case_tables import row_anchor
from .page import Block, Cell, Column, Picture, Section, Table, number
from .pictures.album import Album
from .pictures.figures import png
from .pictures.labels import spoken
from .pictures.spread import spread_figure
from .run_tables import RunTables

Results = Mapping[str, Mapping[str, LabelMetrics]]
_DISTANCES = ("hd95_mm", "assd_mm", "nsd")
_LEAST_CASES = 4  # for boxes to say something


def quality(tables: RunTables, album: Album) -> Section:
    """Dice and surface distances per label; each label's lowest Dice leads to its case.

    Raises:
        DatasetError: a table of the evaluation cannot be read.
    """
    summary, results = tables.summary, tables.results
    blocks: list[Block] = [_means(summary, results)]
    if len(results) >= _LEAST_CASES:
        blocks.append(_spread(results, album))
    lesions = {name: of["lesions"] for name, of in summary["labels"].items() if "lesions" in of}
    if lesions:
        blocks.append(_lesions(lesions))
    return Section("Quality", blocks)


def _means(summary: Mapping[str, Any], results: Results) -> Table:
    rows = []
    for name, entry in summary["labels"].items():
        # summaries of earlier versions have no NSD
        means = {metric: entry.get(metric, {}).get("mean") for metric in ("dice", *_DISTANCES)}
        missed = entry["counts"]["prediction_empty"]
        rows.append((spoken(name), _scores(means, _lowest(name, results), missed)))
    missed = sum(entry["counts"]["prediction_empty"] for entry in summary["labels"].values())
    rows.append(("mean of labels", _scores(summary["mean"], Cell(""), missed)))
    columns = [Column("label"), Column("Dice"), Column("lowest", True)]
    columns += [Column(name, True) for name in ("HD95 mm", "ASSD mm", "NSD", "missed")]
    caption = (
        f"Means over {summary['cases']} cases, measured in each label file's own grid. HD95: "
        "Hausdorff distance, 95th percentile. ASSD: average symmetric surface distance. NSD: "
        "normalised surface Dice. Missed: cases whose label was not found at all; they count as "
        "Dice 0 and have no distance."
    )
    return Table(columns, rows, caption=caption, total=True)


def _scores(means: Mapping[str, float | None], lowest: Cell, missed: int) -> list[Cell]:
    dice = means["dice"]
    cells = [Cell(number(dice, 3), share=dice or 0.0), lowest]
    for metric, digits in zip(_DISTANCES, (1, 1, 3), strict=True):
        cells.append(Cell(number(means.get(metric), digits), number=True))
    return [*cells, Cell(str(missed), number=True)]


def _lowest(label: str, results: Results) -> Cell:
    dice = {case: of[label].dice for case, of in results.items() if label in of}
    known = {case: value for case, value in dice.items() if not math.isnan(value)}
    if not known:
        return Cell("-", number=True)
    case = min(known, key=lambda one: known[one])
    return Cell(number(known[case], 3), number=True, link=row_anchor(case))


def _spread(results: Results, album: Album) -> Picture:
    labels = list(dict.fromkeys(name for of in results.values() for name in of))
    numbers = {
        label: [
            [
                of[label].dice
                for of in results.values()
                if label in of and not math.isnan(of[label].dice)
            ]
        ]
        for label in labels
    }
    told = (numbers, ["cases"], "Dice")
    content = album.keep("spread_dice", spread_figure(*told))
    return Picture(
        content,
        alt="Dice of every case, per label",
        caption="A dot per case; boxes hold the middle half, the line is the median.",
        dark=png(spread_figure(*told, dark=True)),
    )


def _lesions(lesions: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (
            spoken(name),
            [
                *(
                    Cell(str(of[count]), number=True)
                    for count in ("reference", "found", "prediction")
                ),
                Cell(number(of["f1_of_all"], 3), share=of["f1_of_all"] or 0.0),
                Cell(number(of["panoptic_quality"]["mean"], 3), number=True),
                Cell(number(of["dice"]["mean"], 3), number=True),
            ],
        )
        for name, of in lesions.items()
    ]
    columns = [Column("lesions of"), Column("in truth", True), Column("found", True)]
    columns += [Column("predicted", True), Column("F1")]
    columns += [Column("panoptic quality", True), Column("Dice of found", True)]
    caption = "Lesions one by one, of all cases together; each of them stands in lesions.csv."
    return Table(columns, rows, caption=caption)
