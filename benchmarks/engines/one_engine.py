"""One engine on one trained bundle: the cases of its fold, and windows with random weights."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridgate.pipeline.process_settings import set_up_process

set_up_process()  # as the command does, which must come before PyTorch

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from gridgate.data.datasets.dataset import load_dataset  # noqa: E402
from gridgate.data.errors import ConfigError  # noqa: E402
from gridgate.networks import build_for_volumes  # noqa: E402
from gridgate.pipeline.models.devices import autocast, channels_last  # noqa: E402
from gridgate.pipeline.models.engines.by_int8 import MODEL  # noqa: E402
from gridgate.pipeline.models.engines.by_openvino import Compiled  # noqa: E402
from gridgate.pipeline.models.engines.engine import make_engine  # noqa: E402
from gridgate.pipeline.models.engines.window_network import WindowKind  # noqa: E402
from gridgate.pipeline.models.machine import machine_facts  # noqa: E402
from gridgate.pipeline.quantising.calibration import calibration_windows  # noqa: E402
from gridgate.pipeline.quantising.convert import convert_to_int8  # noqa: E402
from gridgate.pipeline.segmenter import Segmenter  # noqa: E402
from gridgate.pipeline.workflow import BundleRun  # noqa: E402

Forward = Callable[..., torch.Tensor]


def main() -> None:
    """Measure what the job asks for, and write it down."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    try:
        found = {**windows(job), **cases(job)}
    except (ConfigError, ImportError) as error:
        found = {"refused": str(error).replace("|", "/")}
    Path(job["result"]).write_text(json.dumps({"machine": machine_facts(), **found}))


def windows(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a window of the plan's network, with random weights."""
    roi = (job["window"],) * 3
    options = {**plan_of(job)["network"]}
    if "img_size" in options:
        options["img_size"] = roi
    torch.manual_seed(0)
    network = build_for_volumes(**options, in_channels=1, out_channels=job["classes"]).eval()
    kind = kind_of((1, *roi), job["format"])
    crops = [torch.randn(1, *roi) for _ in range(4)]
    forward = forward_of(job, network, kind, crops)
    count = 2 if job["engine"] in ("torch", "compile") and kind.dtype is None else 1
    spent = []
    for _ in range(2 + job["rounds"]):
        batch = channels_last(torch.randn(count, *kind.shape))
        began = time.perf_counter()
        with torch.inference_mode(), autocast(kind.device, kind.dtype):
            forward(batch)
        spent.append((time.perf_counter() - began) / count)
    return {"window_s": statistics.median(spent[2:])}


def cases(job: dict[str, Any]) -> dict[str, Any]:
    """Dice of each label over the fold's cases, seconds of a case, and the same voxels."""
    engine = "torch" if job["format"] == "int8" else job["engine"]
    settings = {"amp": job["format"] == "bfloat16", "engine": engine}
    segmenter = Segmenter(job["bundle"], device="cpu", settings=settings)
    if job["format"] == "int8":
        quantise(job, segmenter)
    held_out = json.loads((Path(job["bundle"]) / "splits.json").read_text())[job["fold"]][
        "validation"
    ]
    listed = {case.id: case for case in load_dataset(job["folder"]).cases}
    dice: dict[str, list[float]] = {}
    seconds, same = [], []
    reference = Path(job["reference"])
    for name in held_out[: job["cases"]]:
        began = time.perf_counter()
        found = segmenter(str(listed[name].images[0]))
        seconds.append(time.perf_counter() - began)
        label = listed[name].label
        assert label is not None
        truth = np.asarray(nib.load(label).dataobj)
        for value, part in found.names.items():
            dice.setdefault(part, []).append(_dice(found.labels == value, truth == value))
        file = reference / f"{name}.npy"
        if not file.exists():  # the first that runs is PyTorch in float32
            reference.mkdir(parents=True, exist_ok=True)
            np.save(file, found.labels)
        same.append(float((np.load(file) == found.labels).mean()))
    return {
        "dice": {label: statistics.fmean(values) for label, values in dice.items()},
        "case_s": seconds,
        "same": statistics.fmean(same),
    }


def forward_of(
    job: dict[str, Any], network: torch.nn.Module, kind: WindowKind, crops: list[torch.Tensor]
) -> Forward:
    """The network by the job's engine and format."""
    if job["format"] == "int8":
        return int8(network, kind, crops)
    return make_engine(job["engine"], network, kind).forward


def quantise(job: dict[str, Any], segmenter: Segmenter) -> None:
    """Put an int8 network, calibrated on windows of cases of the training, into a segmenter."""
    words = {"dataset_dir": job["folder"], "output_dir": "none", "fold": str(job["fold"])}
    words["splits"] = str(Path(job["bundle"]) / "splits.json")
    run = BundleRun(job["bundle"], "evaluate.yaml", "evaluating", words)
    run.check()
    crops = calibration_windows(run.parser, job["folder"], job["calibration"])
    processor = segmenter._processor
    kind = kind_of(tuple(crops[0].shape), "int8")
    processor.network = int8(processor.network, kind, crops)  # type: ignore[assignment]


def int8(network: torch.nn.Module, kind: WindowKind, crops: list[torch.Tensor]) -> Forward:
    """Quantised as `gridgate quantise` does first, run by OpenVINO."""
    with tempfile.TemporaryDirectory() as work:
        convert_to_int8(network, kind, crops, Path(work))
        return Compiled(network, kind, Path(work) / MODEL)


def kind_of(shape: tuple[int, ...], form: str) -> WindowKind:
    """The windows of a format."""
    dtype = torch.bfloat16 if form == "bfloat16" else None
    return WindowKind(shape, dtype, torch.device("cpu"), torch.get_num_threads())


def plan_of(job: dict[str, Any]) -> dict[str, Any]:
    """Of the trained bundle."""
    metadata = Path(job["bundle"]) / "configs" / "metadata.json"
    return dict(json.loads(metadata.read_text())["plan"])


def _dice(found: Any, truth: Any) -> float:
    both = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / both if both else 1.0


if __name__ == "__main__":
    main()
