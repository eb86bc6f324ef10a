"""The metrics of one library on two label maps: seconds and values per label, as JSON on stdout.

    python metrics_of.py LIBRARY FOLDER

FOLDER holds prediction.npy, reference.npy (uint8, X Y Z) and job.json: {"labels", "spacing_mm",
"tolerance_mm"}. Only LIBRARY is imported. Each is used as its documentation shows, on the whole
arrays; what is printed is what it gives of dice, hd, hd95, assd and nsd.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def gridgate(prediction: Any, reference: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Ours: all measures of all labels."""
    from gridgate.data.label_tables.measured import Measured
    from gridgate.pipeline.evaluation.metrics import case_metrics

    imported()
    labels = {str(value): value for value in job["labels"]}
    measured = Measured(tolerances_mm=dict.fromkeys(labels, job["tolerance_mm"]))
    rows = case_metrics(
        prediction, reference, labels=labels, spacing_mm=job["spacing_mm"], measured=measured
    )
    return {
        row.label: {
            "dice": row.dice,
            "hd": row.hd_mm,
            "hd95": row.hd95_mm,
            "assd": row.assd_mm,
            "nsd": row.nsd,
        }
        for row in rows
    }


def monai(prediction: Any, reference: Any, job: dict[str, Any]) -> dict[str, Any]:
    """MONAI: one-hot tensors, then a function per measure."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    imported()
    values = job["labels"]
    one, two = (
        torch.from_numpy(np.stack([array == value for value in [0, *values]]))[None]
        for array in (prediction, reference)
    )
    told: dict[str, Any] = {"include_background": False, "spacing": job["spacing_mm"]}
    found = {
        "dice": compute_dice(one, two, include_background=False)[0],
        "hd": compute_hausdorff_distance(one, two, **told)[0],
        "hd95": compute_hausdorff_distance(one, two, percentile=95, **told)[0],
        "assd": compute_average_surface_distance(one, two, symmetric=True, **told)[0],
        "nsd": compute_surface_dice(one, two, [job["tolerance_mm"]] * len(values), **told)[0],
    }
    return {
        str(value): {name: float(numbers[i]) for name, numbers in found.items()}
        for i, value in enumerate(values)
    }


def medpy(prediction: Any, reference: Any, job: dict[str, Any]) -> dict[str, Any]:
    """MedPy: a function per measure and label."""
    from medpy.metric import binary

    imported()
    found = {}
    for value in job["labels"]:
        one, two = prediction == value, reference == value
        found[str(value)] = {
            "dice": float(binary.dc(one, two)),
            "hd": float(binary.hd(one, two, voxelspacing=job["spacing_mm"])),
            "hd95": float(binary.hd95(one, two, voxelspacing=job["spacing_mm"])),
            "assd": float(binary.assd(one, two, voxelspacing=job["spacing_mm"])),
        }
    return found


def surface_distance(prediction: Any, reference: Any, job: dict[str, Any]) -> dict[str, Any]:
    """DeepMind's surface-distance: distances once per label."""
    import surface_distance as library

    imported()
    found = {}
    for value in job["labels"]:
        one, two = reference == value, prediction == value
        distances = library.compute_surface_distances(one, two, job["spacing_mm"])
        forth, back = library.compute_average_surface_distance(distances)
        found[str(value)] = {
            "dice": float(library.compute_dice_coefficient(one, two)),
            "hd": float(library.compute_robust_hausdorff(distances, 100)),
            "hd95": float(library.compute_robust_hausdorff(distances, 95)),
            "assd": float((forth + back) / 2),
            "nsd": float(library.compute_surface_dice_at_tolerance(distances, job["tolerance_mm"])),
        }
    return found


_started = 0.0


def imported() -> None:
    """The library is imported: what comes now is measured."""
    global _started
    _started = time.perf_counter()


def main() -> None:
    """Entry point."""
    library, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text())
    prediction, reference = (
        np.load(folder / f"{name}.npy") for name in ("prediction", "reference")
    )
    values = globals()[library](prediction, reference, job)
    print(json.dumps({"seconds": time.perf_counter() - _started, "values": values}))


if __name__ == "__main__":
    main()
