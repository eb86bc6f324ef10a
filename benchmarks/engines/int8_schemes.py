r"""What each scheme of INT8 costs in Dice and brings in time, on trained bundles.

    python benchmarks/engines/int8_schemes.py DATASET 'trained/*/training'

`gridgate quantise` takes the first scheme by which no label's mean Dice changes by more than 0.002;
here all are made, from --windows windows of the fold's training cases, and measured on --cases of
its validation cases. A window's seconds are the least of ten.
Writes results/int8_schemes_<dataset folder>.md.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gridgate.pipeline.process_settings import set_up_process

set_up_process()  # as the command does, which must come before PyTorch

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from gridgate.data.datasets.parts import dataset_cases  # noqa: E402
from gridgate.pipeline.models.engines.by_int8 import MODEL  # noqa: E402
from gridgate.pipeline.models.engines.by_openvino import Compiled  # noqa: E402
from gridgate.pipeline.models.engines.window_network import WindowKind  # noqa: E402
from gridgate.pipeline.models.machine import machine_facts  # noqa: E402
from gridgate.pipeline.quantising.calibration import calibration_windows  # noqa: E402
from gridgate.pipeline.quantising.convert import SCHEMES, convert_to_int8  # noqa: E402
from gridgate.pipeline.segmenter import Segmenter  # noqa: E402
from gridgate.pipeline.workflow import BundleRun  # noqa: E402

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DATASET")
    parser.add_argument("bundles", nargs="+", type=Path, help="trained on fold 0 of it")
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for bundle in options.bundles:
        rows += measure(bundle, options)
        write_page(rows, options)
    return 0


def measure(bundle: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A bundle's rows: PyTorch in float32, then each scheme."""
    name = bundle.resolve().parent.name if bundle.name == "training" else bundle.name
    segmenter = Segmenter(bundle, device="cpu", settings={"amp": False, "engine": "torch"})
    words = {"dataset_dir": str(options.folder), "output_dir": "none"}
    run = BundleRun(bundle, "evaluate.yaml", "evaluating", words)
    run.check()
    crops = calibration_windows(run.parser, str(options.folder), options.windows)
    items = dataset_cases(options.folder, part="validation", most=options.cases)
    kind = WindowKind(tuple(crops[0].shape), None, torch.device("cpu"), torch.get_num_threads())
    processor: Any = segmenter._processor
    network = processor.network
    exact = [segmenter(item["image"]) for item in items]
    names = exact[0].names
    truth = [np.asarray(nib.load(item["label"]).dataobj) for item in items]

    def row(scheme: str, found: list[np.ndarray], seconds: float) -> dict[str, Any]:
        same = [float((a == b.labels).mean()) for a, b in zip(found, exact, strict=True)]
        dice = {label: mean_dice(found, truth, value) for value, label in names.items()}
        made = {"network": name, "scheme": scheme, "dice": dice, "s": seconds}
        return {**made, "same": statistics.fmean(same)}

    rows = [row("float32", [one.labels for one in exact], seconds_of(network, kind))]
    for scheme in SCHEMES:
        with tempfile.TemporaryDirectory() as work:
            convert_to_int8(network, kind, crops, Path(work), scheme)
            processor.network = Compiled(network, kind, Path(work) / MODEL)
        found = [segmenter(item["image"]).labels for item in items]
        rows.append(row(scheme, found, seconds_of(processor.network, kind)))
        print(rows[-1], flush=True)
    return rows


def seconds_of(forward: Any, kind: WindowKind) -> float:
    """The least of ten windows."""
    window = torch.randn(1, *kind.shape)
    spent = []
    with torch.inference_mode():
        for _ in range(10):
            began = time.perf_counter()
            forward(window)
            spent.append(time.perf_counter() - began)
    return min(spent)


def mean_dice(found: list[np.ndarray], truth: list[np.ndarray], value: int) -> float:
    """Over cases, of one label."""
    each = []
    for mask, label in zip(found, truth, strict=True):
        a, b = mask == value, label == value
        each.append(2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum())))
    return statistics.fmean(each)


def write_page(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The table, and how it was made."""
    data = options.folder.resolve().name
    labels = list(rows[0]["dice"])
    words = ["python", "benchmarks/engines/int8_schemes.py", "DATASET", "trained/*/training"]
    words += ["--cases", str(options.cases), "--windows", str(options.windows)]
    head = ["network", "scheme", "s a window", *(f"Dice {label}" for label in labels)]
    head += ["largest change", "voxels as float32, %"]
    lines = [
        f"# Schemes of INT8 on {data}",
        "",
        f"`{shlex.join(words)}`",
        "",
        *(f"- {name}: {value}" for name, value in machine_facts()),
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for row in rows:
        exact = next(one for one in rows if one["network"] == row["network"])
        most = max((row["dice"][label] - exact["dice"][label] for label in labels), key=abs)
        cells = [row["network"], row["scheme"], f"{row['s']:.4f}"]
        cells += [f"{row['dice'][label]:.4f}" for label in labels]
        cells += [f"{most:+.4f}", f"{100 * row['same']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"int8_schemes_{data}.md"
    target.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
