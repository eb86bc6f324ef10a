"""Draws the pictures of the documents from a demo's folder and from the code.

    gridgate demo --folder demo
    python docs/source/pictures.py demo

All of them show phantoms, which Gridgate makes, or numbers: nobody's patients.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gridgate.data.images.reading import read_image
from gridgate.data.phantom.phantom import PHANTOM_LABELS
from gridgate.networks import NETWORKS, network_facts
from gridgate.pipeline.reports.pictures.figures import case_figure, png
from gridgate.pipeline.reports.pictures.labels import label_colour, spoken
from gridgate.pipeline.reports.pictures.slices import image_view, labels_view

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import network_drawings  # noqa: E402
import network_tables  # noqa: E402

PICTURES = HERE.parent / "pictures"
DPI = 100
CASE = "phantom_000"  # the first of the phantoms that had no part in the training


def main() -> None:
    """Draw all."""
    demo = Path(sys.argv[1])
    PICTURES.mkdir(exist_ok=True)
    small(png(mask_picture(demo)), "phantom_mask", width=660)
    keep("demo_training", training_picture(demo))
    keep("demo_dice", dice_picture(demo))
    keep("network_costs", costs_picture())
    for name, figure in network_drawings.drawings():
        keep(f"network_{name}", figure)
    attention = sorted((demo / "pictures").glob("*attention*.png"))
    if attention:
        small(attention[0].read_bytes(), "demo_attention", width=720)


def keep(name: str, figure: Figure) -> None:
    """Write a figure as a PNG file without anything that changes from run to run."""
    FigureCanvasAgg(figure)
    figure.savefig(PICTURES / f"{name}.png", dpi=DPI, metadata={"Software": None})


def small(content: bytes, name: str, *, width: int) -> None:
    """Write a PNG's picture so many pixels wide."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    height = round(picture.height * width / picture.width)
    picture.resize((width, height), Image.Resampling.LANCZOS).save(
        PICTURES / f"{name}.png", optimize=True
    )


def mask_picture(demo: Path) -> Figure:
    """A phantom of the evaluation: the mask filled, the truth outlined."""
    image = read_image(demo / "unseen" / "imagesTr" / f"{CASE}.nii.gz")
    with open(demo / "evaluation" / "metrics.csv", newline="", encoding="utf-8") as file:
        dice = {row["label"]: row["dice"] for row in csv.DictReader(file) if row["case"] == CASE}
    return case_figure(
        image_view(image),
        labels_view(demo / "evaluation" / f"{CASE}.nii.gz", image),
        truth=labels_view(demo / "unseen" / "labelsTr" / f"{CASE}.nii.gz", image),
        labels=list(PHANTOM_LABELS),
        name=CASE,
        notes={label: f"{float(value):.2f}" for label, value in dice.items()},
    )


def training_picture(demo: Path) -> Figure:
    """Loss and validation Dice of the demo's metrics_train.csv."""
    with open(demo / "training" / "metrics_train.csv", newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    iterations = [row["iteration"] for row in rows]
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(iterations, [row["loss"] for row in rows], color="#b3402a", marker="o")
    left.set(xlabel="iteration", ylabel="loss")
    for value, label in enumerate(PHANTOM_LABELS):
        if value:
            dice = [row[f"dice_{label}"] for row in rows]
            right.plot(iterations, dice, color=label_colour(value), label=spoken(label))
    right.plot(iterations, [row["dice_mean"] for row in rows], color="black", label="mean")
    right.set(xlabel="iteration", ylabel="Dice of the validation", ylim=(0, 1))
    right.legend(fontsize=7)
    return figure


def dice_picture(demo: Path) -> Figure:
    """Dice per case and label of the demo's metrics.csv."""
    with open(demo / "evaluation" / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dice"] not in ("", "nan")]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    for place, label in enumerate(labels):
        values = [float(row["dice"]) for row in rows if row["label"] == label]
        axes.scatter([place] * len(values), values, color=label_colour(place + 1), alpha=0.7)
        axes.hlines(sum(values) / len(values), place - 0.25, place + 0.25, color="black")
    axes.set_xticks(range(len(labels)), [spoken(label) for label in labels])
    axes.set(ylabel="Dice", ylim=(0.7, 1))
    return figure


def costs_picture() -> Figure:
    """Parameters and operations of all networks in 3D."""
    counted = {name: network_tables.costs(name, 3) for name in NETWORKS}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (parameters, gflops) in counted.items():
        ours = not network_facts(name).title.startswith("MONAI")
        colour = "#0b7a75" if ours else "#8a8f94"
        axes.scatter(parameters / 1e6, gflops, color=colour)
        place = {"xytext": _NAMES.get(name, (5, 3)), "textcoords": "offset points"}
        axes.annotate(name, (parameters / 1e6, gflops), fontsize=7, color=colour, **place)
    axes.set(xscale="log", yscale="log", xlim=(2.5, 300))
    axes.set(xlabel="parameters, millions", ylabel="GFLOPs per 96³ window")
    axes.grid(alpha=0.3)
    return figure


# where a network's name stands beside its dot, in points, so that two at one place can be read
_NAMES: dict[str, Sequence[float]] = {
    "MedNeXt": (5, -9),
    "SegResNet": (-44, 2),
    "UNETR": (5, -9),
    "attention_unet": (6, -3),
    "unet": (-4, 7),
    "unet_plus": (5, -9),
}


if __name__ == "__main__":
    main()
