"""The three commands on a device, as a user gives them: plan for so much time, train, evaluate.

    python benchmarks/cuda/planned.py DATASET RESULT.json --time 1m --device cuda

Seconds of each command, what was planned and what it took, and the Dice on the first fold's cases.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from gpu_clock import GpuClock

_PLANNED = ("network", "size", "spacing", "roi_size", "batch_size", "epochs")
_PLANNED += ("iterations_per_epoch", "test_mirror_axes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the result as JSON, anew after each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--time", default="1m")
    parser.add_argument("--plan", nargs=argparse.REMAINDER, default=[], help="its settings, last")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"device": options.device, "time": options.time}
    with tempfile.TemporaryDirectory() as folder:
        bundle, output, masks = (f"{folder}/{name}" for name in ("bundle", "trained", "masks"))
        device = ["--device", options.device]
        plan = ["plan", options.dataset, "--to", bundle, "--time", options.time, *device]
        result["plan_s"], _ = gridgate([*plan, *options.plan])
        result |= planned(Path(bundle))
        write(options.result, result)
        result["train_s"], clock = gridgate(["train", bundle, options.dataset, output, *device])
        result |= trained(Path(output), clock)
        write(options.result, result)
        result["evaluate_s"], _ = gridgate(["evaluate", output, options.dataset, masks, *device])
        result["dice"] = dice(Path(masks))
    write(options.result, result)


def gridgate(words: Sequence[str]) -> tuple[float, GpuClock]:
    """Run a command; its seconds, and how busy the GPU was.

    Raises:
        CalledProcessError: it failed.
    """
    print("$ gridgate", *words, flush=True)
    began = time.monotonic()
    with GpuClock() as clock:
        subprocess.run([sys.executable, "-m", "gridgate", *words], check=True)
    return time.monotonic() - began, clock


def planned(bundle: Path) -> dict[str, Any]:
    """What the plan says, and its reasons for window and length, which hold what was measured."""
    decisions = {
        one["name"]: one for one in json.loads((bundle / "plan.json").read_text())["decisions"]
    }
    found = {name: decisions[name]["value"] for name in _PLANNED if name in decisions}
    return {
        "plan": found,
        "reasons": [decisions[name]["reason"] for name in ("roi_size", "epochs")],
    }


def trained(output: Path, clock: GpuClock) -> dict[str, Any]:
    """Iterations and seconds by the training's own table, and the GPU between them."""
    with (output / "metrics_train.csv").open(newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    seconds, ended = float(row["seconds"]), time.monotonic()
    return {
        "iterations": int(row["iteration"]),
        "seconds": seconds,
        "gpu_busy_percent": clock.busy_percent(ended - seconds, ended),
        "gpu_peak_gb": clock.peak_gb(),
        "loss": float(row["loss"]),
    }


def dice(masks: Path) -> dict[str, float]:
    """Mean Dice of each label."""
    found = defaultdict(list)
    with (masks / "metrics.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dice"]:
                found[row["label"]].append(float(row["dice"]))
    return {label: mean(values) for label, values in found.items()}


def write(path: Path, result: dict[str, Any]) -> None:
    """What is known so far."""
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
