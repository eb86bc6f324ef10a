"""Output folders as the three workflows leave them; predictions are truths with a part cut off."""

import csv
import functools
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.images.reading import find_images, read_image, read_labels, write_labels
from gridgate.data.output_folder import OutputFolder
from gridgate.data.phantom.phantom import PHANTOM_LABELS, make_phantom
from gridgate.pipeline.batch.results.case_table import CaseTable
from gridgate.pipeline.evaluation.measure import measure_files
from gridgate.pipeline.evaluation.results import write_results

NAMES = list(PHANTOM_LABELS)
REASON = "scans/broken_scan.nii.gz: the file is cut off <b>or</b> damaged; copy or convert it again"


def small_phantoms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms of few voxels from now on, for speed."""
    small = functools.partial(make_phantom, shape=(48, 40, 36))
    monkeypatch.setattr("gridgate.data.phantom.dataset.make_phantom", small)


def fake_training(folder: Path) -> None:
    folder.mkdir(parents=True)
    with open(folder / "metrics_train.csv", "w", newline="") as file:
        writer = csv.writer(file)
        dice = ["dice_mean", *(f"dice_{name}" for name in NAMES[1:])]
        writer.writerow(["epoch", "iteration", "seconds", "loss", "learning_rate", *dice])
        for epoch in (1, 2, 3):
            writer.writerow(
                [epoch, 40 * epoch, 70.5 * epoch, 3 - epoch / 2, 0.003, *[0.25 * epoch] * len(dice)]
            )


def fake_evaluation(folder: Path, dataset_dir: Path) -> None:
    table = CaseTable(folder, labels=NAMES)
    table.start({})
    rows = []
    for case in load_dataset(dataset_dir).cases:
        assert case.label is not None
        image, truth = read_image(case.images[0]), read_labels(case.label)
        prediction = truth.array.copy()
        prediction[: prediction.shape[0] // 3] = 0
        write_labels(folder / f"{case.id}.nii.gz", prediction, like=image)
        done = {
            "case": case.id,
            "input": str(image.path),
            "output": f"{case.id}.nii.gz",
            "status": "ok",
        }
        table.add(done | {"total_s": "1.0"})
        rows += [
            (case.id, row) for row in measure_files(folder / f"{case.id}.nii.gz", case.label, NAMES)
        ]
    write_results(OutputFolder(folder), rows, failed={}, checkpoint="0" * 12)


def fake_predictions(folder: Path, scans: Path) -> None:
    table = CaseTable(folder, labels=NAMES)
    table.start({})
    for path in find_images(scans):
        case = path.name.removesuffix(".nii.gz")
        if case == "broken_scan":
            table.add(
                {
                    "case": case,
                    "input": str(path),
                    "status": "failed",
                    "reason": REASON,
                    "total_s": "0.0",
                }
            )
            continue
        image = read_image(path)
        write_labels(folder / path.name, (image.array > 150).astype(np.uint8), like=image)
        table.add(
            {
                "case": case,
                "input": str(path),
                "output": path.name,
                "status": "ok",
                "total_s": "2.0",
                "liver_ml": 1234.5,
            }
        )
