"""Seconds and memory of each loss, forward and backward, and of MONAI's where it has the same.

    python benchmarks/training/losses.py --window 96 --classes 14

Logits are random; labels are balls of different sizes, as organs are, one per class. Each loss runs
in a process of its own, once to warm up and then --times times, of which the median is told. The
memory is what the process needs at its most beyond what it needed before the first call. Writes
results/losses_<device>.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

MONAI = {
    "dice": "DiceLoss",
    "focal": "FocalLoss",
    "tversky": "TverskyLoss",
    "generalised_dice": "GeneralizedDiceLoss",
    "hausdorff": "HausdorffDTLoss",
    "boundary": "BoundaryLoss",
    "dice_ce": "DiceCELoss",
    "dice_focal": "DiceFocalLoss",
}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="losses (default: all but those of 2D networks)")
    parser.add_argument("--window", type=int, default=96, help="voxels per axis")
    parser.add_argument("--classes", type=int, default=14, help="with the background")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    parser.add_argument("--one", metavar="LOSS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measured(options)))
        return 0
    from gridgate.pipeline.training.losses import LOSSES

    rows = []
    for name in options.names or [name for name in LOSSES if name != "structure_2d"]:
        row = {"loss": name, **in_process(name, options)}
        if name in MONAI:
            row["monai"] = in_process(f"monai:{MONAI[name]}", options)
        rows.append(row)
        print(json.dumps(row), flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    page = options.results / f"losses_{options.device.split(':')[0]}.md"
    page.write_text(markdown(rows, options), encoding="utf-8")
    print(page)
    return 0


def in_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What `measured` tells, in a process of its own; empty if that failed."""
    command = [sys.executable, __file__, "--one", name, "--window", str(options.window)]
    command += ["--classes", str(options.classes), "--times", str(options.times)]
    command += ["--device", options.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of forward and backward, and MB beyond the inputs."""
    import torch

    logits, labels = inputs(options)
    loss = loss_of(options.one)
    cuda = options.device.startswith("cuda")
    before = torch.cuda.memory_allocated() if cuda else _most_memory()
    forward, backward = [], []
    for _ in range(options.times + 1):
        logits.grad = None
        marks = [time.perf_counter()]
        value = loss(logits, labels)
        if cuda:
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        value.backward()
        if cuda:
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        forward.append(marks[1] - marks[0])
        backward.append(marks[2] - marks[1])
    most = torch.cuda.max_memory_allocated() if cuda else _most_memory()
    return {
        "forward": statistics.median(forward[1:]),
        "backward": statistics.median(backward[1:]),
        "mb": (most - before) / 1e6,
    }


def inputs(options: argparse.Namespace) -> tuple[Any, Any]:
    """Logits (1, C, ...) and labels (1, 1, ...): balls in a window."""
    import torch

    draw = torch.Generator().manual_seed(0)
    size = [options.window] * 3
    logits = torch.randn(1, options.classes, *size, generator=draw)
    labels = torch.zeros(1, 1, *size, dtype=torch.uint8)
    axes = torch.meshgrid(*[torch.arange(one) for one in size], indexing="ij")
    for label in range(1, options.classes):
        middle = torch.rand(3, generator=draw) * options.window
        radius = options.window / 24 * (1 + label % 4)
        away = sum((axis - at) ** 2 for axis, at in zip(axes, middle, strict=True))
        labels[0, 0][away < radius**2] = label
    return logits.to(options.device).requires_grad_(), labels.to(options.device)


def loss_of(name: str) -> Any:
    """Ours of a name, or MONAI's of "monai:CLASS"."""
    if not name.startswith("monai:"):
        from gridgate.pipeline.training.losses import build_loss

        return build_loss(name)
    import monai.losses

    kind = getattr(monai.losses, name.partition(":")[2])
    softmax = "use_softmax" if kind.__name__ == "FocalLoss" else "softmax"
    return kind(to_onehot_y=True, **{softmax: True})


def _most_memory() -> int:
    """Bytes that this process has needed at its most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The page."""
    from gridgate.pipeline.models.machine import machine_facts

    lines = [
        f"# Losses at {options.window}^3 voxels and {options.classes} classes",
        "",
        f"`python benchmarks/training/losses.py --window {options.window} --classes "
        f"{options.classes} --device {options.device}`",
        "",
        *(f"- {name}: {value}" for name, value in machine_facts()),
        "",
        "Seconds of one window, float32; MB are what a call needs beyond logits and labels.",
        "MONAI's class is beside ours where it has the same loss.",
        "",
        "| loss | forward, s | backward, s | MB | MONAI's forward, s | backward, s | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["loss"], *_cells(row), *_cells(row.get("monai", {}))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cells(row: dict[str, Any]) -> list[str]:
    if "forward" not in row:
        return ["", "", ""]
    return [f"{row['forward']:.3f}", f"{row['backward']:.3f}", f"{row['mb']:.0f}"]


if __name__ == "__main__":
    sys.exit(main())
