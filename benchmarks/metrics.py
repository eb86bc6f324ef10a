"""Seconds, memory and values of metrics beside MONAI's, MedPy's and surface-distance's.

    python benchmarks/metrics.py --peers-python /tmp/peers/bin/python
    python benchmarks/metrics.py --prediction mask.nii.gz --reference label.nii.gz

By default a case of 512 x 512 x 300 voxels of 0.8 x 0.8 x 1.5 mm with 13 labels of organs' sizes,
whose prediction is bent by a few mm; or two label files on one grid. Each library runs in a process
of its own, one after the other. MONAI is ours; the peers' environment needs medpy and
surface-distance. Writes results/metrics_<case>.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measured_process import run_measured
from scipy import ndimage

HERE = Path(__file__).resolve().parent
MEASURES = ("dice", "hd", "hd95", "assd", "nsd")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prediction", type=Path, help="a label file")
    parser.add_argument("--reference", type=Path, help="another on the same grid")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--labels", type=int, default=13)
    parser.add_argument("--tolerance-mm", type=float, default=2.0)
    parser.add_argument("--peers-python", help="an environment with medpy and surface-distance")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case, voxels = write_case(folder, options)
        rows = {"gridgate": run("gridgate", folder, sys.executable)}
        rows["monai"] = run("monai", folder, sys.executable)
        if options.peers_python:
            for library in ("medpy", "surface_distance"):
                rows[library] = run(library, folder, options.peers_python)
    options.results.mkdir(parents=True, exist_ok=True)
    page = options.results / f"metrics_{case}.md"
    page.write_text(markdown(rows, case, voxels, options), encoding="utf-8")
    print(page.read_text(encoding="utf-8"))
    return 0


def write_case(folder: Path, options: argparse.Namespace) -> tuple[str, str]:
    """The two arrays and the job; the case's name, and its voxels in words."""
    if options.prediction is not None:
        from gridgate.data.images.reading import read_labels

        images = [read_labels(path) for path in (options.prediction, options.reference)]
        prediction, reference = (image.array.astype(np.uint8) for image in images)
        spacing = [float(step) for step in np.linalg.norm(images[0].grid.affine[:3, :3], axis=0)]
        case = options.reference.name.partition(".")[0]
    else:
        reference = organs(options.shape, options.labels)
        prediction = bent(reference)
        spacing, case = [0.8, 0.8, 1.5], "{}x{}x{}".format(*options.shape)
        case += f"_{options.labels}_labels"
    labels = [int(value) for value in np.unique(reference) if value]
    np.save(folder / "prediction.npy", prediction)
    np.save(folder / "reference.npy", reference)
    job = {"labels": labels, "spacing_mm": spacing, "tolerance_mm": options.tolerance_mm}
    (folder / "job.json").write_text(json.dumps(job))
    sizes = " x ".join(map(str, reference.shape))
    return case, f"{sizes} of {' x '.join(f'{step:.3g}' for step in spacing)} mm"


def organs(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Ellipsoids from 1/40 to 1/5 of the field of view in radius."""
    draw = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8)
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    for value in range(1, count + 1):
        radii = np.array(shape) * draw.uniform(0.025, 0.2) * draw.uniform(0.7, 1.3, 3)
        middle = draw.uniform(0.2, 0.8, 3) * shape
        parts = zip(axes, middle, radii, strict=True)
        away = sum(((axis - at) / radius) ** 2 for axis, at, radius in parts)
        labels[away < 1] = value
    return labels


def bent(labels: np.ndarray) -> np.ndarray:
    """The labels displaced by a smooth field of a few voxels."""
    draw = np.random.default_rng(1)
    coarse = draw.normal(size=(3, 10, 10, 8)) * 2.5
    zoom = np.array(labels.shape) / coarse.shape[1:]
    found = np.zeros_like(labels)
    for start in range(0, labels.shape[2], 50):  # parts, for memory
        stop = min(start + 50, labels.shape[2])
        grid = np.mgrid[: labels.shape[0], : labels.shape[1], start:stop].astype(np.float32)
        places = grid / zoom.reshape(3, 1, 1, 1).astype(np.float32)
        moved = [ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in coarse]
        found[:, :, start:stop] = ndimage.map_coordinates(labels, grid + np.stack(moved), order=0)
    return found


def run(library: str, folder: Path, python: str) -> dict[str, Any]:
    """What a library took and gave; a failure in words."""
    log = folder / f"{library}.log"
    command = [python, str(HERE / "contestants" / "metrics_of.py"), library, str(folder)]
    done = run_measured(
        command, log=log, environment=os.environ, memory_limit_gb=20.0, time_limit_s=1800.0
    )
    found = {"peak_gb": done.peak_gb, "failure": done.failure}
    if not done.failure:
        found |= json.loads(log.read_text().strip().splitlines()[-1])
    print(library, found.get("seconds"), done.peak_gb, done.failure, flush=True)
    return found


def markdown(
    rows: dict[str, dict[str, Any]], case: str, voxels: str, options: argparse.Namespace
) -> str:
    """The page."""
    from gridgate.pipeline.models.machine import machine_facts

    ours = rows["gridgate"]
    lines = [
        f"# Metrics of {case}: {voxels}",
        "",
        f"Dice, Hausdorff distance, its 95th percentile, average surface distance and surface Dice "
        f"at {options.tolerance_mm:g} mm, of {len(ours['values'])} labels; Gridgate's are all of "
        "`docs/metrics.md`. MedPy has no surface Dice.",
        "",
        *(f"- {name}: {value}" for name, value in machine_facts()),
        "",
        "| library | seconds | times ours | peak GB |",
        "|---|---|---|---|",
    ]
    for library, row in rows.items():
        if row["failure"]:
            lines.append(f"| {library} | {row['failure']} | | {row['peak_gb']:.2f} |")
            continue
        ratio = row["seconds"] / ours["seconds"]
        lines.append(f"| {library} | {row['seconds']:.2f} | {ratio:.1f} | {row['peak_gb']:.2f} |")
    lines += ["", "Largest difference from Gridgate's number over the labels:", ""]
    lines += ["| library | Dice | HD mm | HD95 mm | ASSD mm | NSD |", "|---|---|---|---|---|---|"]
    for library, row in rows.items():
        if library != "gridgate" and not row["failure"]:
            cells = [_difference(row["values"], ours["values"], name) for name in MEASURES]
            lines.append(f"| {library} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _difference(theirs: dict[str, Any], ours: dict[str, Any], name: str) -> str:
    found = [
        abs(values[name] - ours[label][name]) for label, values in theirs.items() if name in values
    ]
    return f"{max(found):.2g}" if found else "-"


if __name__ == "__main__":
    sys.exit(main())
