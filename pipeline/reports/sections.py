"""The sections of a report: what each says, from the tables that the workflows left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...data.errors import GridgateError
from ..batch.results.quality import look_first
from ..models.attention import attention_of
from ..models.machine import machine_facts
from ..training.folder.training_table import read_training_record
from .case_tables import segmented_cases
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
)
from .pictures.album import Album
from .pictures.curves import dice_figure, loss_figure
from .pictures.figures import attention_figure, png
from .pictures.scans import find_scan
from .run_tables import RunTables


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
    done = RunTables(folder).done
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


def predictions(tables: RunTables, labels: Sequence[str], count: int, album: Album) -> Section:
    """What became of each scan of a folder, and pictures of masks, those with most hints first.

    Args:
        labels: names in the order of the masks' values, "" where none has the value.
    """
    done, failed = tables.done, tables.failed
    text = f"{len(done)} of {len(done) + len(failed)} scans have a mask, each in its scan's grid."
    if failed:
        text += f" {len(failed)} could not be done; the others were not stopped by it."
    first = [dict(row) for row in look_first(done, count)]
    chosen = [*first, *(row for row in done if row not in first)][: max(count, 0)]
    shown = [row["case"] for row in chosen]
    blocks: list[Block] = [Paragraph(text)]
    blocks += [case_picture(CaseFiles(tables.folder, row), labels, album) for row in chosen]
    blocks.append(segmented_cases(tables.rows, labels, shown, tables.name))
    return Section("Masks for a folder of scans", blocks)


def how(commands: Sequence[tuple[str, str, float]], *, timed: bool = True) -> Section:
    """The commands and the machine.

    Args:
        commands: (step, its command line as typed or "", seconds it took).
        timed: whether to tell the seconds.
    """
    blocks: list[Block] = []
    if commands:
        blocks.append(Commands([line for _, line, _ in commands if line]))
    if commands and timed:
        steps = [(name, [Cell(duration(took), number=True)]) for name, _, took in commands]
        blocks.append(Table([Column("step"), Column("time", True)], steps))
    return Section("How it was made", [*blocks, Facts(machine_facts())])
