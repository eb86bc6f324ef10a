"""Plans for the ten tasks of the Medical Segmentation Decathlon, beside nnU-Net's.

    python benchmarks/plans_msd.py --nnunet-python /tmp/nnunet/bin/python

The archives are not needed: published sizes and spacings stand for the cases (lowest, median and
highest of each; between them along straight lines, thin slices with many slices). nnU-Net's own
planner gets the same numbers, in an environment of its own; without --nnunet-python its rows are
missing. Real datasets come after them: --real FOLDER --real-nnunet nnUNetPlans.json. Memory is that
of nnU-Net's default target, 8 GB; ours is found on PyTorch's meta device. Writes
results/plans_msd.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gridgate.data.datasets.fingerprint.measuring import measure_fingerprint
from gridgate.data.datasets.fingerprint.numbers import CaseNumbers, Fingerprint, Intensities
from gridgate.data.datasets.sources.msd_tasks import TASKS, Task
from gridgate.pipeline.planning.decisions.decision import sizes
from gridgate.pipeline.planning.decisions.grid import decide_spacing, half_resolution
from gridgate.pipeline.planning.decisions.intensity import decide_intensity
from gridgate.pipeline.planning.decisions.network import decide_network
from gridgate.pipeline.planning.decisions.window import decide_window
from gridgate.pipeline.planning.measures.machine import planned_machine
from gridgate.pipeline.planning.measures.trial import Candidate

HERE = Path(__file__).resolve().parent
CASES = 21


@dataclass(frozen=True)
class Published:
    """Lowest, median and highest spacing (mm) and size (voxels), x, y, z.

    Sources: openmedlab's Awesome-Medical-Dataset, resources/MSD_*.md; of the liver nnU-Net's issue
    856 (median) and the LiTS paper (ranges); of the brain after cropping nnU-Net's paper of 2018.
    """

    spacing: tuple[tuple[float, ...], ...]
    size: tuple[tuple[int, ...], ...]


def same(*values: Any) -> tuple[Any, ...]:
    """A value that is the same in all cases."""
    return (values, values, values)


PUBLISHED = {
    "Task01_BrainTumour": Published(same(1.0, 1.0, 1.0), same(138, 169, 138)),
    "Task02_Heart": Published(
        same(1.25, 1.25, 1.37), ((320, 320, 90), (320, 320, 115), (320, 320, 130))
    ),
    "Task03_Liver": Published(
        ((0.56, 0.56, 0.45), (0.77, 0.77, 1.0), (1.0, 1.0, 6.0)),
        ((512, 512, 42), (512, 512, 432), (512, 512, 1026)),
    ),
    "Task04_Hippocampus": Published(
        same(1.0, 1.0, 1.0), ((31, 40, 24), (35, 50, 36), (43, 59, 47))
    ),
    "Task05_Prostate": Published(
        ((0.6, 0.6, 3.0), (0.63, 0.63, 3.6), (0.75, 0.75, 4.0)),
        ((256, 256, 11), (320, 320, 20), (384, 384, 24)),
    ),
    "Task06_Lung": Published(
        ((0.6, 0.6, 0.63), (0.79, 0.79, 1.24), (0.98, 0.98, 2.5)),
        ((512, 512, 112), (512, 512, 252), (512, 512, 636)),
    ),
    "Task07_Pancreas": Published(
        ((0.61, 0.61, 0.7), (0.8, 0.8, 2.5), (0.98, 0.98, 7.5)),
        ((512, 512, 37), (512, 512, 93), (512, 512, 751)),
    ),
    "Task08_HepaticVessel": Published(
        ((0.57, 0.57, 0.8), (0.8, 0.8, 5.0), (0.97, 0.97, 8.0)),
        ((512, 512, 24), (512, 512, 49), (512, 512, 181)),
    ),
    "Task09_Spleen": Published(
        ((0.61, 0.61, 1.5), (0.79, 0.79, 5.0), (0.98, 0.98, 8.0)),
        ((512, 512, 31), (512, 512, 90), (512, 512, 168)),
    ),
    "Task10_Colon": Published(
        ((0.54, 0.54, 1.3), (0.78, 0.78, 5.0), (0.98, 0.98, 7.5)),
        ((512, 512, 37), (512, 512, 95), (512, 512, 729)),
    ),
}


def fingerprint_of(task: Task) -> Fingerprint:
    """A fingerprint with the task's published numbers."""
    known = PUBLISHED[task.name]
    cases = []
    for number, place in enumerate(np.linspace(0, 1, CASES)):
        spacing = between(known.spacing, place)
        size = between(known.size, 1 - place)
        shape = tuple(round(value) for value in size)
        cases.append(CaseNumbers(f"{number:02d}", shape, tuple(spacing), shape, {}))  # type: ignore[arg-type]
    intensity = Intensities(80.0, 60.0, -100.0, 80.0, 250.0)
    return Fingerprint(
        task.name,
        task.channels,
        ("background", *task.labels),
        tuple(cases),
        (intensity,) * len(task.channels),
    )


def between(values: tuple[tuple[float, ...], ...], place: float) -> list[float]:
    """The quantile 0..1 of each axis, along straight lines through lowest, median and highest."""
    table = np.array(values, dtype=np.float64)
    return [float(np.interp(place, (0, 0.5, 1), table[:, axis])) for axis in range(3)]


def ours(fingerprint: Fingerprint, memory: str) -> dict[str, Any]:
    """What `gridgate plan --device cuda --memory 8GB` decides where no GPU is."""
    machine = planned_machine("cuda", memory)
    network = {one.name: one.value for one in decide_network(None, None, machine)}
    spacing = decide_spacing(fingerprint)
    candidate = Candidate(
        network["network"],
        network["network_options"],
        len(fingerprint.channels),
        len(fingerprint.labels),
    )
    window = decide_window(fingerprint, spacing.value, candidate, machine)
    half = half_resolution(fingerprint, spacing.value, window.window.value)
    return {
        "spacing": spacing.value,
        "shape": np.median(fingerprint.content_shapes(spacing.value), axis=0).tolist(),
        "window": window.window.value,
        "batch": window.batch.value,
        "intensity": decide_intensity(fingerprint).value["mode"],
        "half": half.value if half else None,
    }


def nnunet(fingerprint: Fingerprint, task: Task, python: str) -> dict[str, Any]:
    """What nnU-Net's planner makes of the same numbers; its axes turned to x, y, z."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        name = f"Dataset{int(task.name[4:6]):03d}_{task.name[7:]}"
        environment = {**os.environ}
        for part in ("raw", "preprocessed", "results"):
            (root / part / name).mkdir(parents=True)
            environment[f"nnUNet_{part}"] = str(root / part)
        write_raw(root / "raw" / name, task)
        write_fingerprint(root / "preprocessed" / name, fingerprint)
        code = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import "
        code += "plan_experiment_entry as run; run()"
        subprocess.run(
            [python, "-c", code, "-d", name[7:10]],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return plans_of(root / "preprocessed" / name / "nnUNetPlans.json")


def write_raw(folder: Path, task: Task) -> None:
    """dataset.json and one tiny case, by which nnU-Net chooses its reader."""
    content = {
        "channel_names": {str(i): channel for i, channel in enumerate(task.channels)},
        "labels": {"background": 0, **task.labels},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    empty = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    for channel in range(len(task.channels)):
        nib.save(empty, folder / "imagesTr" / f"a_{channel:04d}.nii.gz")
    nib.save(empty, folder / "labelsTr" / "a.nii.gz")


def write_fingerprint(folder: Path, fingerprint: Fingerprint) -> None:
    """nnU-Net's dataset_fingerprint.json, with z first as SimpleITK reads."""
    intensity = fingerprint.intensities[0]
    properties = {
        "mean": intensity.mean,
        "median": intensity.median,
        "std": intensity.std,
        "min": intensity.low,
        "max": intensity.high,
        "percentile_00_5": intensity.low,
        "percentile_99_5": intensity.high,
    }
    content = {
        "spacings": [list(case.spacing[::-1]) for case in fingerprint.cases],
        "shapes_after_crop": [list(case.content[::-1]) for case in fingerprint.cases],
        "foreground_intensity_properties_per_channel": {
            str(i): properties for i in range(len(fingerprint.channels))
        },
        "median_relative_size_after_cropping": 1.0,
    }
    (folder / "dataset_fingerprint.json").write_text(json.dumps(content))


def plans_of(path: Path) -> dict[str, Any]:
    """The numbers of an nnUNetPlans.json, axes turned to x, y, z."""
    plans = json.loads(path.read_text())
    back = plans["transpose_backward"]
    full = plans["configurations"]["3d_fullres"]
    low = plans["configurations"].get("3d_lowres")

    def turned(values: list[float]) -> list[float]:
        return [values[axis] for axis in back][::-1]

    return {
        "spacing": turned(full["spacing"]),
        "shape": turned(full["median_image_size_in_voxels"]),
        "window": turned(full["patch_size"]),
        "batch": full["batch_size"],
        "intensity": full["normalization_schemes"][0].removesuffix("Normalization"),
        "half": turned(low["spacing"]) if low else None,
    }


def row(name: str, whose: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    half = sizes(found["half"]) if found["half"] else "none"
    cells = [name, whose, sizes(found["spacing"]), sizes(found["shape"]), sizes(found["window"])]
    return "| " + " | ".join([*cells, str(found["batch"]), found["intensity"], half]) + " |"


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nnunet-python", help="of an environment with nnunetv2")
    parser.add_argument("--memory", default="8GB")
    parser.add_argument("--real", nargs="*", default=[], help="dataset folders")
    parser.add_argument("--real-nnunet", nargs="*", default=[], help="their nnUNetPlans.json")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    head = (
        "| dataset | | spacing, mm | median case | window | batch | intensity | second plan, mm |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for task in TASKS:
        fingerprint = fingerprint_of(task)
        lines.append(row(task.name, "Gridgate", ours(fingerprint, options.memory)))
        if options.nnunet_python:
            lines.append(row("", "nnU-Net", nnunet(fingerprint, task, options.nnunet_python)))
        print("\n".join(lines[-2:]), file=sys.stderr)
    plans = [Path(one) for one in options.real_nnunet]
    for folder, plan in zip(options.real, [*plans, *[None] * len(options.real)], strict=False):
        fingerprint = measure_fingerprint(folder)
        lines.append(
            row(f"{fingerprint.dataset} (real)", "Gridgate", ours(fingerprint, options.memory))
        )
        if plan is not None:
            lines.append(row("", "nnU-Net", plans_of(plan)))
        print("\n".join(lines[-2:]), file=sys.stderr)
    write(lines, options)
    return 0


def write(lines: list[str], options: argparse.Namespace) -> None:
    """The page; what stands below the table in an earlier one stays."""
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "plans_msd.md"
    before = path.read_text() if path.exists() else ""
    notes = before[before.index("## Differences") :] if "## Differences" in before else ""
    text = (
        "# Plans for the Decathlon, beside nnU-Net's\n\n"
        f"`python benchmarks/plans_msd.py --memory {options.memory} --nnunet-python PYTHON`: our "
        "plans for a GPU of that memory, which is nnU-Net's default target, found on PyTorch's "
        "meta device. Axes are x, y, z.\n\n"
    )
    path.write_text(text + "\n".join(lines) + "\n\n" + notes)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
