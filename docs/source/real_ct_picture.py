"""Draws the README's picture of a real CT with the mask of head_neck_attention_unet.

    python docs/source/real_ct_picture.py ../shared/data/openkbp_head_neck EVALUATION

EVALUATION is the output folder of `gridgate evaluate` of a fold. The case is the one whose mean
Dice is the median: neither the best nor the worst. Its planning CT is of the OpenKBP challenge
(MIT), the images from The Cancer Imaging Archive.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pictures import small

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.images.reading import read_image
from gridgate.pipeline.evaluation.results import read_results
from gridgate.pipeline.reports.pictures.figures import case_figure, png
from gridgate.pipeline.reports.pictures.slices import View, image_view, labels_view

MARGIN_MM = 8.0
AIR = -500.0  # HU; the body is above


def main() -> None:
    """Draw it, and say which case it is."""
    dataset, evaluation = load_dataset(sys.argv[1]), Path(sys.argv[2])
    dice = {
        case: {label: row.dice for label, row in rows.items()}
        for case, rows in read_results(evaluation).items()
    }
    mean = {case: statistics.mean(rows.values()) for case, rows in dice.items()}
    name = sorted(mean, key=mean.__getitem__)[len(mean) // 2]
    case = next(one for one in dataset.cases if one.id == name)
    assert case.label is not None
    image = read_image(case.images[0])
    views = [
        image_view(image),
        labels_view(evaluation / f"{name}.nii.gz", image),
        labels_view(case.label, image),
    ]
    box = body_box(views[0])
    scan, mask, truth = (replace(view, array=view.array[box]) for view in views)
    figure = case_figure(
        scan,
        mask,
        truth=truth,
        labels=list(dataset.labels),
        name="",
        notes={label: f"{value:.2f}" for label, value in dice[name].items()},
    )
    small(png(figure), "head_neck_mask", width=660)
    print(f"{name}: mean Dice {mean[name]:.3f}")


def body_box(view: View) -> tuple[slice, ...]:
    """The box around everything above air, with a margin."""
    body = view.array > AIR
    box = []
    for axis, spacing in enumerate(view.spacing_mm):
        inside = np.flatnonzero(body.any(axis=tuple(one for one in range(3) if one != axis)))
        margin = round(MARGIN_MM / spacing)
        box.append(slice(max(inside[0] - margin, 0), inside[-1] + margin + 1))
    return tuple(box)


if __name__ == "__main__":
    main()
