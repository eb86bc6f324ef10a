"""The sections of a report: what each says, from the tables that the workflows left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import GridgateError
from ..batch.results.case_result import DONE, FAILED
from ..batch.results.table_file import read_case_table
from ..models.attention import attention_of
from ..models.machine import machine_facts
from ..training.handlers import read_training_record
from .cases import CaseFiles, case_picture
from .page import (
    Block,
    Cell,
    Column,
    Commands,
    Facts,
    Paragraph,
    Picture,
    Section,
    SideBySide,
    Table,
    duration,
    number,
    rounded,
)
from .pictures.album import Album
from .pictures.curves import dice_figure, loss_figure
from .pictures.figures import attention_figure, png
from .pictures.labels import spoken
from .pictures.scans import find_scan


def quality(summary: Mapping[str, Any]) -> Section:
    """Dice and surface distances per label, from summary.json."""
    rows = []
    for name, entry in summary["labels"].items():
        means = {metric: entry[metric]["mean"] for metric in ("dice", "hd95_mm", "assd_mm")}
        lowest, missed = entry["dice"]["min"], entry["counts"]["prediction_empty"]
        rows.append((spoken(name), _scores(means, number(lowest, 3), missed)))
    missed = sum(entry["counts"]["prediction_empty"] for entry in summary["labels"].values())
    rows.append(("mean of labels", _scores(summary["mean"], "", missed)))
    columns = [Column("label"), Column("Dice"), Column("lowest", True)]
    columns += [Column(name, True) for name in ("HD95 mm", "ASSD mm", "missed")]
    caption = (
        f"Means over {summary['cases']} cases, measured in each label file's own grid. HD95: "
        "Hausdorff distance, 95th percentile. ASSD: average symmetric surface distance. Missed: "
        "cases whose label was not found at all; they count as Dice 0 and have no distance."
    )
    failed = [
        Paragraph(f"{case} failed: {why}", kind="bad") for case, why in summary["failed"].items()
    ]
    return Section("Quality", [Table(columns, rows, caption=caption, total=True), *failed])


def _scores(means: Mapping[str, float | None], lowest: str, missed: int) -> list[Cell]:
    dice = means["dice"]
    cells = [Cell(number(dice, 3), share=dice or 0.0), Cell(lowest, number=True)]
    cells += [Cell(number(means[metric], 1), number=True) for metric in ("hd95_mm", "assd_mm")]
    return [*cells, Cell(str(missed), number=True)]


def training(folder: Path, album: Album) -> Section | None:
    """The curves of a training; None when it has no row of its table yet."""
    rows = read_training_record(folder)
    if not rows:
        return None
    best = max(rows, key=lambda row: np.nan_to_num(float(row["dice_mean"]), nan=-1.0))
    text = f"{rows[-1]['iteration']} iterations in {duration(float(rows[-1]['seconds']))}. "
    curves = [("loss", loss_figure, "Training loss")]
    if np.isnan(float(best["dice_mean"])):
        text += "No Dice was measured meanwhile; model.pt has the averaged weights of the end."
    else:
        curves.append(("dice", dice_figure, "Validation Dice per label"))
        text += (
            f"The best mean Dice on the validation cases, {float(best['dice_mean']):.3f}, came "
            f"after iteration {best['iteration']}; those weights are model.pt."
        )
    pictures = [
        Picture(album.keep(name, draw(rows)), alt=alt, dark=png(draw(rows, dark=True)))
        for name, draw, alt in curves
    ]
    return Section("Training", [Paragraph(text), SideBySide(pictures)])


def attention(bundle: Path, checkpoint: Path, folder: Path, album: Album) -> Section | None:
    """Attention maps over one evaluated case; None for networks without maps over space."""
    done = [row for row in read_case_table(folder / "cases.csv") if row["status"] == DONE]
    if not done:
        return None
    case = done[0]["case"]
    try:
        found = attention_of(bundle, checkpoint, find_scan(done[0]["input"]))
    except GridgateError as error:
        return Section("Attention", [Paragraph(f"{case}: no maps: {error}", kind="bad")])
    if found is None:
        return None
    text = (
        "Attention gates scale what the encoder hands to the decoder, place by place, by a "
        "coefficient between 0 and 1. They are learned from the segmentation alone: nothing tells "
        "a gate where to look."
    )
    caption = (
        f"{case}, axial. A column is a skip connection, from fine to coarse, a row one of its "
        "gates. Each map spans its own range, printed in its corner. Overlapping windows are "
        "blended as the logits are."
    )
    content = album.keep("attention", attention_figure(found, name=case))
    picture = Picture(content, alt="Attention maps", caption=caption)
    return Section("Attention", [Paragraph(text), picture])


def predictions(folder: Path, labels: Sequence[str], count: int, album: Album) -> Section:
    """What became of each scan of a folder, and pictures of the first masks."""
    rows = read_case_table(folder / "cases.csv")
    done = [row for row in rows if row["status"] == DONE]
    failed = [row for row in rows if row["status"] == FAILED]
    text = f"{len(done)} of {len(rows)} scans have a mask, each in its scan's own grid."
    if failed:
        text += f" {len(failed)} could not be done; the others were not stopped by it."
    columns = [Column("scan"), Column("status"), Column("seconds", True)]
    columns += [Column(f"{spoken(name)} ml", True) for name in labels[1:]]
    lines = []
    for row in sorted(rows, key=lambda row: row["case"]):
        status = Cell(row["status"], kind="bad" if row["status"] == FAILED else "")
        millilitres = [rounded(row.get(f"{name}_ml", ""), 0) for name in labels[1:]]
        cells = [Cell(text, number=True) for text in (row["total_s"], *millilitres)]
        lines.append((row["case"], [status, *cells]))
    blocks: list[Block] = [Paragraph(text), Table(columns, lines)]
    if failed:
        reasons = [(row["case"], [Cell(row["reason"], kind="wide")]) for row in failed]
        blocks.append(Table([Column("failed"), Column("reason")], reasons))
    blocks += [case_picture(CaseFiles(folder, row), labels, album) for row in done[: max(count, 0)]]
    return Section("Masks for a folder of scans", blocks)


def how(commands: Sequence[tuple[str, str, float]]) -> Section:
    """The commands and the machine."""
    blocks: list[Block] = []
    if commands:
        steps = [(name, [Cell(duration(took), number=True)]) for name, _, took in commands]
        blocks.append(Commands([line for _, line, _ in commands if line]))
        blocks.append(Table([Column("step"), Column("time", True)], steps))
    return Section("How it was made", [*blocks, Facts(machine_facts())])
