"""report.html: one file that shows what was trained, how good it is, and what came of each case."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...data.datasets.dataset import load_dataset
from ...data.errors import DatasetError, OutputError
from ...data.images.reading import read_image
from ..batch.results import DONE, FAILED, read_case_table
from ..models.attention import attention_of
from ..training.handlers import read_training_record
from . import page as page
from .figures import attention_figure, case_figure, dice_figure, loss_figure, png, spoken
from ..costs.machine import machine_facts
from .slices import image_view, labels_view

Rows = list[dict[str, str]]


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

    Raises:
        DatasetError: the evaluation's summary.json is missing or damaged.
        OutputError: they cannot be written.
    """
    path = Path(path)
    album = _Album(path.parent / "pictures")
    body = [page.title(run.title)]
    body += [page.paragraph(run.intro)] if run.intro else []
    if run.evaluation_dir is not None:
        body.append(_key_numbers(run, _summary(run.evaluation_dir)))
        body += _quality(run, run.evaluation_dir) + _cases(run, run.evaluation_dir, album)
    if run.training_dir is not None:
        body += _training(run.training_dir, album)
    if run.bundle_dir is not None and run.checkpoint is not None and run.evaluation_dir is not None:
        body += _attention(run.bundle_dir, run.checkpoint, run.evaluation_dir, album)
    if run.predictions_dir is not None:
        body += _predictions(run, run.predictions_dir, album)
    body += _how(run)
    body.append(
        "<footer>Made by Gridgate. Research software; not a medical device and not for "
        "diagnosis.</footer>"
    )
    _replace(path, page.page(run.title, body).encode())
    return path


class _Album:
    """The pictures' folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, figure: Any) -> bytes:
        """Write a figure as name.png; its bytes."""
        content = png(figure)
        _replace(self.folder / f"{name}.png", content)
        return content


def _key_numbers(run: Run, summary: Mapping[str, Any]) -> str:
    numbers = [
        ("mean Dice", page.number(summary["mean"]["dice"], 3)),
        ("cases measured", str(summary["cases"])),
    ]
    seconds = sum(took for _, _, took in run.commands)
    if seconds:
        numbers.append(("time until this page", page.duration(seconds)))
    return page.key_numbers(numbers)


def _quality(run: Run, folder: Path) -> list[str]:
    summary = _summary(folder)
    rows = []
    for name, entry in summary["labels"].items():
        dice = entry["dice"]["mean"]
        cells = [
            page.cell(page.number(dice, 3), share=dice or 0.0),
            page.cell(page.number(entry["dice"]["min"], 3), number=True),
        ]
        cells += [
            page.cell(page.number(entry[m]["mean"], 1), number=True) for m in ("hd95_mm", "assd_mm")
        ]
        rows.append(
            (
                spoken(name),
                [*cells, page.cell(str(entry["counts"]["prediction_empty"]), number=True)],
            )
        )
    mean = summary["mean"]
    missed = sum(entry["counts"]["prediction_empty"] for entry in summary["labels"].values())
    cells = [
        page.cell(page.number(mean["dice"], 3), share=mean["dice"] or 0.0),
        page.cell("", number=True),
    ]
    cells += [page.cell(page.number(mean[m], 1), number=True) for m in ("hd95_mm", "assd_mm")]
    rows.append(("mean of labels", [*cells, page.cell(str(missed), number=True)]))
    columns = [
        ("label", False),
        ("Dice", False),
        ("lowest", True),
        ("HD95 mm", True),
        ("ASSD mm", True),
        ("missed", True),
    ]
    caption = (
        f"Means over {summary['cases']} cases, measured in each label file's own grid. HD95: "
        "Hausdorff "
        "distance, 95th percentile. ASSD: average symmetric surface distance. Missed: cases whose "
        "label was "
        "not found at all; they count as Dice 0 and have no distance."
    )
    body = [page.heading("Quality"), page.table(columns, rows, caption=caption, total=True)]
    body += [
        page.paragraph(f"{case} failed: {why}", kind="bad")
        for case, why in summary["failed"].items()
    ]
    return body


def _cases(run: Run, folder: Path, album: _Album) -> list[str]:
    dice = _dice_by_case(folder / "metrics.csv")
    inputs = {
        row["case"]: row["input"]
        for row in read_case_table(folder / "cases.csv")
        if row["status"] == DONE
    }
    means = {
        case: float(np.nanmean(list(values.values())))
        for case, values in dice.items()
        if case in inputs
    }
    truths = (
        {case.id: case.label for case in load_dataset(run.dataset_dir).cases}
        if run.dataset_dir
        else {}
    )
    body = [page.heading("Cases")]
    for case, rank in _spread(means, run.pictures):
        image = read_image(inputs[case].split(";")[0])
        label = truths.get(case)
        figure = case_figure(
            image_view(image),
            labels_view(folder / f"{case}.nii.gz", image),
            truth=labels_view(label, image) if label is not None else None,
            labels=run.labels,
            name=case,
            notes={name: page.number(value, 3) for name, value in dice[case].items()},
        )
        caption = f"{case}, {rank} of {len(means)} by mean Dice ({means[case]:.3f}). Patient's right at the left."
        alt = f"Axial, coronal and sagittal slices of {case} with prediction and truth"
        body.append(page.picture(album.keep(case, figure), alt=alt, caption=caption))
    return body


def _training(folder: Path, album: _Album) -> list[str]:
    rows = read_training_record(folder)
    if not rows:
        return []
    best = max(rows, key=lambda row: np.nan_to_num(float(row["dice_mean"]), nan=-1.0))
    text = (
        f"{rows[-1]['iteration']} iterations in {page.duration(float(rows[-1]['seconds']))}. The "
        "best mean "
        f"Dice on the validation cases, {float(best['dice_mean']):.3f}, came after iteration "
        f"{best['iteration']}; those weights are model.pt."
    )
    pictures = []
    for name, draw, alt in (
        ("loss", loss_figure, "Training loss"),
        ("dice", dice_figure, "Validation Dice a label"),
    ):
        pictures.append(
            page.picture(album.keep(name, draw(rows)), alt=alt, dark=png(draw(rows, dark=True)))
        )
    return [page.heading("Training"), page.paragraph(text), page.side_by_side(pictures)]


def _attention(bundle: Path, checkpoint: Path, folder: Path, album: _Album) -> list[str]:
    done = [row for row in read_case_table(folder / "cases.csv") if row["status"] == DONE]
    attention = attention_of(bundle, checkpoint, done[0]["input"].split(";")[0]) if done else None
    if attention is None:
        return []
    figure = attention_figure(attention, name=done[0]["case"])
    text = (
        "Attention gates scale what the encoder hands to the decoder, place by place, by a "
        "coefficient "
        "between 0 and 1. They are learned from the segmentation alone: nothing tells a gate where "
        "to look."
    )
    caption = (
        f"{done[0]['case']}, axial. A column is a skip connection, from fine to coarse, a row one "
        "of its "
        "gates. Each map spans its own range, printed in its corner. Overlapping windows are "
        "blended as the "
        "logits are."
    )
    content = album.keep("attention", figure)
    return [
        page.heading("Attention"),
        page.paragraph(text),
        page.picture(content, alt="Attention maps", caption=caption),
    ]


def _predictions(run: Run, folder: Path, album: _Album) -> list[str]:
    rows = read_case_table(folder / "cases.csv")
    done, failed = (
        [r for r in rows if r["status"] == DONE],
        [r for r in rows if r["status"] == FAILED],
    )
    text = f"{len(done)} of {len(rows)} scans have a mask, each in its scan's own grid."
    if failed:
        text += f" {len(failed)} could not be done; the others were not stopped by it."
    columns = [("scan", False), ("status", False), ("seconds", True)]
    columns += [(f"{spoken(name)} ml", True) for name in run.labels[1:]]
    lines = []
    for row in sorted(rows, key=lambda row: row["case"]):
        bad = row["status"] == FAILED
        cells = [
            page.cell(row["status"], kind="bad" if bad else ""),
            page.cell(row["total_s"], number=True),
        ]
        cells += [
            page.cell(page.rounded(row.get(f"{name}_ml", ""), 0), number=True)
            for name in run.labels[1:]
        ]
        lines.append((row["case"], cells))
    body = [
        page.heading("Masks for a folder of scans"),
        page.paragraph(text),
        page.table(columns, lines),
    ]
    if failed:
        reasons = [(row["case"], [page.cell(row["reason"], kind="wide")]) for row in failed]
        body.append(page.table([("failed", False), ("reason", False)], reasons))
    for row in done[: run.pictures]:
        image = read_image(row["input"].split(";")[0])
        mask = labels_view(folder / row["output"], image)
        figure = case_figure(image_view(image), mask, labels=run.labels, name=row["case"])
        caption = (
            f"{row['case']}, stored as {image.grid.orientation}. No truth is known to the program."
        )
        alt = f"Slices of {row['case']} with its mask"
        body.append(page.picture(album.keep(row["case"], figure), alt=alt, caption=caption))
    return body


def _how(run: Run) -> list[str]:
    body = [page.heading("How it was made")]
    if run.commands:
        body.append(page.commands([line for _, line, _ in run.commands if line]))
        steps = [
            (name, [page.cell(page.duration(took), number=True)]) for name, _, took in run.commands
        ]
        body.append(page.table([("step", False), ("time", True)], steps))
    return [*body, page.facts(machine_facts())]


def _spread(means: Mapping[str, float], count: int) -> list[tuple[str, str]]:
    """Cases from worst to best, evenly spread over the ranking, with their place in words."""
    ranked = sorted(means, key=lambda case: means[case])
    if not ranked or count < 1:
        return []
    places = sorted(
        {round(place) for place in np.linspace(0, len(ranked) - 1, min(count, len(ranked)))}
    )
    words = {0: "the worst", len(ranked) - 1: "the best"}
    return [
        (
            ranked[p],
            words.get(p, f"number {len(ranked) - p}") if len(ranked) > 1 else "the only one",
        )
        for p in places
    ]


def _dice_by_case(path: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["case"], {})[row["label"]] = float(row["dice"] or "nan")
    return found


def _summary(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder}/summary.json cannot be read ({error}); run the evaluation first"
        ) from error
    return content


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot write ({error.strerror})") from error
