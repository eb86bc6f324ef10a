"""The tables of cases on pages: what to look at first, what was measured, what was segmented."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ..batch.results.case_result import DONE, FAILED
from ..batch.results.quality import look_first
from ..evaluation.metrics import LabelMetrics
from .page import Block, Cell, Column, Section, Table, number, rounded
from .pictures.labels import spoken

MOST_ROWS = 1000
"""Rows of a table on a page; what is more stands in the .csv files only."""
_LABELS = 8  # that have a column each
_HINTED = 20

Row = Mapping[str, str]


def picture_anchor(case: str) -> str:
    """What links call the picture of a case; a case's id may hold any character."""
    return f"picture-{_short(case)}"


def row_anchor(case: str) -> str:
    """What links call the row of a case."""
    return f"case-{_short(case)}"


def first_to_look_at(
    rows: Sequence[Row], failed: Mapping[str, str], shown: Collection[str]
) -> Section | None:
    """Cases that failed, with the reason, and masks with hints; None where there are neither.

    Args:
        rows: of cases.csv.
        failed: case -> why, of this run.
        shown: cases that have a picture on the page.
    """
    hinted = [row for row in rows if _hints(row)]
    blocks: list[Block] = []
    if failed:
        table = [(case, [Cell(why, kind="wide")]) for case, why in list(failed.items())[:MOST_ROWS]]
        caption = _left_out(len(failed), MOST_ROWS)
        blocks.append(Table([Column("failed"), Column("reason")], table, caption=caption))
    if hinted:
        first = look_first(hinted, _HINTED)
        table = [(row["case"], [Cell(row.get("hints") or "", kind="wide")]) for row in first]
        caption = (
            "Masks with most hints first. A hint is a cheap test that a sound mask passes; it does "
            "not say that a mask is wrong. " + _left_out(len(hinted), _HINTED)
        ).strip()
        links = {row["case"]: picture_anchor(row["case"]) for row in first if row["case"] in shown}
        columns = [Column("mask"), Column("hints")]
        blocks.append(Table(columns, table, caption=caption, links=links))
    return Section("Look at these first", blocks) if blocks else None


def measured_cases(
    results: Mapping[str, Mapping[str, LabelMetrics]],
    rows: Sequence[Row],
    shown: Collection[str],
    folder: str,
) -> Table:
    """Each case's Dice per label and mean distances, the worst first.

    Args:
        results: case -> label -> its measures.
        rows: of cases.csv.
        shown: cases that have a picture on the page.
        folder: name of the run's folder.
    """
    labels = list(dict.fromkeys(name for measured in results.values() for name in measured))
    wide = len(labels) <= _LABELS
    means = {case: _mean(row.dice for row in of.values()) for case, of in results.items()}
    hints = {row["case"]: _hints(row) for row in rows}
    ordered = sorted(results, key=lambda case: np.nan_to_num(means[case], nan=2.0))
    table = []
    for case in ordered[:MOST_ROWS]:
        of = results[case]
        known = {name: row.dice for name, row in of.items() if not math.isnan(row.dice)}
        cells = [Cell(number(means[case], 3), share=np.nan_to_num(means[case]))]
        if wide:
            cells += [Cell(number(known.get(name), 3), number=True) for name in labels]
        else:
            worst = min(known, key=lambda name: known[name], default="")
            cells += [Cell(number(known.get(worst), 3), number=True), Cell(spoken(worst))]
        for values in ((row.hd95_mm for row in of.values()), (row.nsd for row in of.values())):
            cells.append(Cell(number(_mean(values), 2), number=True))
        table.append((case, [*cells, Cell(str(hints.get(case, 0)), number=True)]))
    columns = [Column("case"), Column("Dice")]
    columns += (
        [Column(spoken(name), True) for name in labels]
        if wide
        else [Column("lowest", True), Column("of")]
    )
    columns += [Column("HD95 mm", True), Column("NSD", True), Column("hints", True)]
    caption = "Means over labels; then Dice per label. " if wide else "Means over labels. "
    caption += "NSD: normalised surface Dice, see tolerance_mm in metrics.csv. A case with a "
    caption += f"picture is a link. {_left_out(len(ordered), MOST_ROWS)}"
    viewed = {row["case"] for row in rows if row["status"] == DONE}
    return _of_cases(columns, table, caption, shown, viewed, folder)


def segmented_cases(
    rows: Sequence[Row], labels: Sequence[str], shown: Collection[str], folder: str
) -> Table:
    """What became of each scan: status, seconds, the volume of each label.

    Args:
        rows: of cases.csv.
        labels: names in the order of the values, the background first.
        shown: cases that have a picture on the page.
        folder: name of the run's folder.
    """
    columns = [Column("scan"), Column("status"), Column("seconds", True), Column("hints", True)]
    named = [name for name in labels[1:] if name]
    columns += [Column(f"{spoken(name)} ml", True) for name in named]
    table = []
    failed_first = sorted(rows, key=lambda row: (row["status"] != FAILED, row["case"]))
    for row in failed_first[:MOST_ROWS]:
        status = Cell(row["status"], kind="bad" if row["status"] == FAILED else "")
        millilitres = [_ml(row.get(f"{name}_ml") or "") for name in named]
        hints = row.get("hint_count") or ""
        numbers = [rounded(row.get("total_s") or "", 1), hints, *millilitres]
        cells = [status, *(Cell(text, number=True) for text in numbers)]
        table.append((row["case"] or row["input"], cells))
    viewed = {row["case"] for row in rows if row["status"] == DONE}
    return _of_cases(columns, table, _left_out(len(rows), MOST_ROWS), shown, viewed, folder)


def _of_cases(
    columns: Sequence[Column],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    caption: str,
    shown: Collection[str],
    viewed: Collection[str],
    folder: str,
) -> Table:
    return Table(
        columns,
        rows,
        caption=caption.strip(),
        sortable=True,
        links={case: picture_anchor(case) for case, _ in rows if case in shown},
        anchors={case: row_anchor(case) for case, _ in rows},
        viewed=viewed,
        folder=folder,
    )


def _hints(row: Row) -> int:
    text = row.get("hint_count") or ""
    return int(text) if text.isdecimal() else 0


def _ml(text: str) -> str:
    return rounded(text, 0 if len(text.partition(".")[0]) > 1 else 2)


def _left_out(count: int, most: int) -> str:
    return f"The first {most} of {count}; all are in the .csv file." if count > most else ""


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _short(case: str) -> str:
    # the names of files may hold bytes that are no text
    return hashlib.sha256(case.encode(errors="surrogateescape")).hexdigest()[:10]
