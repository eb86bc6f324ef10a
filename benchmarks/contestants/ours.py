"""Ours: the `gridgate infer` command itself, on a bundle that the benchmark makes.

inference.py runs the command in a fresh process, which gives the process's seconds and memory, and
this file in another one, which runs it twice: on a small scan, and, with everything imported and
every thread started, on the scan. The seconds of that second run still hold the parsing of the
config and the loading of the weights.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODULE = "gridgate.pipeline.cli.main"
# What the rows override in the bundle's inference.yaml. Windows without anything denser than
# body_threshold (HU) are not run, and null runs all; interpolating probabilities, and not logits,
# is what the model zoo's chain does
VARIANTS: dict[str, dict[str, str]] = {
    "float32": {"amp": "False", "body_threshold": "null", "engine": "torch"},
    "float32, OpenVINO": {"amp": "False", "body_threshold": "null", "engine": "openvino"},
    "float32, probabilities": {
        "amp": "False",
        "body_threshold": "null",
        "interpolate_probabilities": "True",
        "engine": "torch",
    },
    "float32, air skipped": {"amp": "False", "body_threshold": "-500", "engine": "torch"},
    "bf16": {"amp": "True", "body_threshold": "null", "engine": "torch"},
    "bf16, OpenVINO": {"amp": "True", "body_threshold": "null", "engine": "openvino"},
    "bf16, air skipped": {"amp": "True", "body_threshold": "-500", "engine": "torch"},
    "bf16, OpenVINO, fitted": {
        "amp": "True",
        "body_threshold": "-500",
        "fit_region": "True",
        "engine": "openvino",
    },
}


def command_of(job: Mapping[str, Any], *, scan: str, output: str) -> list[str]:
    """Arguments of `gridgate` for a job."""
    settings = {"device": f"$torch.device('{job['device']}')", **job["settings"]}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return ["infer", job["bundle"], scan, output, *words]


def read_row(output: Path) -> dict[str, Any]:
    """Seconds by stage, windows run and windows skipped, as cases.csv gives them.

    Raises:
        RuntimeError: the case failed.
    """
    with open(output / "cases.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    if row["status"] != "ok":
        raise RuntimeError(row["reason"])
    stages = {
        name[:-2]: float(value) for name, value in row.items() if name.endswith("_s") and value
    }
    counts = {name: int(row[name]) for name in ("windows", "windows_skipped") if row.get(name)}
    return {"mask": row["output"], "stages": stages, **counts}


def main() -> None:
    """The command twice in one process, the second time on the clock."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    from gridgate.pipeline.process_settings import set_up_process

    set_up_process()  # as the command does, which must come before PyTorch
    import torch
    from monai.networks.nets import UNet
    from stopwatch import ForwardClock, gpu_peak_gb, now, write_result

    from gridgate.pipeline.cli.main import main as gridgate

    clock = ForwardClock()
    UNet.forward = clock.wrap(UNet.forward)  # type: ignore[method-assign]
    if gridgate(command_of(job, scan=job["small_scan"], output=job["output"] + "_small")) != 0:
        raise SystemExit("the small scan failed")
    clock.reset()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = now()
    code = gridgate(command_of(job, scan=job["scan"], output=job["output"]))
    seconds = now() - started
    if code != 0:
        raise SystemExit(code)
    row = read_row(Path(job["output"]))
    # where another process or another library runs the network, only cases.csv knows
    by_pytorch = clock.windows and job["settings"].get("engine") == "torch"
    forward = clock.seconds if by_pytorch else row["stages"].get("network", 0.0)
    clocked = {
        "warm_s": seconds,
        "forward_s": forward,
        "windows": clock.windows,
        "gpu_peak_gb": gpu_peak_gb(),
    }
    write_result(job["result"], {**clocked, **row})


if __name__ == "__main__":
    main()
