"""One network's forward time and training memory.

Run as `python -m gridgate.pipeline.costs.measuring SETTINGS`.

A process of its own for each network, so that no other has left memory behind, and so that one that
is killed for lack of it takes no other with it. It prints a line of JSON for each thing it has
found, and lives no longer than its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...networks import build
from ..models.build import to_device
from ..models.devices import autocast, autocast_dtype, channels_last, choose_device
from ..training.engine.average import averaged
from ..training.engine.passes.forward_context import forward_context
from ..training.engine.passes.graphed_step import GraphedStep
from ..training.losses import build_loss

_RUNS = 3  # timed ones, after one that warms up, or more, for so many seconds:
_REPEATED = 2.0
_SECONDS = 10.0  # after these no further run is begun


def measure(settings: dict[str, Any]) -> None:
    """Print {"forward_s": ...}, and when asked for {"training_bytes": ...} and {"step_s": ...}.

    Args:
        settings: "name", "options", "window" (a list), "in_channels", "classes", "batch", "device"
            and "training"; "amp": False where it is not given.
    """
    device, classes, window = (
        choose_device(settings["device"]),
        settings["classes"],
        settings["window"],
    )
    x = channels_last(
        torch.randn(settings["batch"], settings["in_channels"], *window, device=device)
    )
    labels = torch.randint(max(2, classes), (settings["batch"], 1, *window), device=device)
    before = _memory(device)
    network = build(
        settings["name"],
        spatial_dims=len(window),
        in_channels=settings["in_channels"],
        out_channels=classes,
        **settings["options"],
    )
    network = to_device(network, device)
    dtype = autocast_dtype(device, settings.get("amp", False))
    _say(forward_s=forward_seconds(network, x, dtype))
    if settings["training"]:
        peak, seconds = training_step(
            network, x, labels, classes=classes, dtype=dtype, whole="amp" in settings
        )
        if peak is not None:
            _say(training_bytes=peak - before)
        if "amp" in settings:  # a plan asks
            _say(step_s=seconds)


def forward_seconds(
    network: torch.nn.Module, x: torch.Tensor, dtype: torch.dtype | None = None
) -> float:
    """Seconds of a forward pass in eval mode: the median of up to three, after a warm-up."""
    network.eval()
    with torch.inference_mode(), autocast(x.device, dtype):
        return median(timed(lambda: network(x), x.device))


def training_step(
    network: torch.nn.Module,
    x: torch.Tensor,
    labels: torch.Tensor,
    *,
    classes: int,
    dtype: torch.dtype | None = None,
    whole: bool = False,
) -> tuple[int | None, float]:
    """Bytes that this process, or the GPU for it, holds at a training step's peak, and its seconds.

    No bytes where the system does not tell. The steps are some in the middle of a training: Dice +
    cross-entropy of all heads, AdamW, whose moments are there before them. Seconds are the median
    of steps after the first.

    Args:
        whole: as a plan wants it, with all that a training does in a step: the gradients' norm is
            limited and the weights averaged, and on CUDA the passes are a graph, for a small
            network some times faster than kernel by kernel.
    """
    network.train()
    weights = tuple(getattr(network, "head_weights", (1.0,)))
    loss = build_loss(
        "dice_ce",
        sigmoid=classes == 1,
        deep_supervision_weights=weights if len(weights) > 1 else None,
    )
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    _forget_peak(x.device)

    def passes(image: torch.Tensor, label: torch.Tensor) -> tuple[Any, torch.Tensor]:
        with forward_context(x.device, dtype):
            scores = network(image)
        found = loss(scores, label)
        found.backward()
        return scores, found

    recorded = GraphedStep(passes, network) if whole and x.device.type == "cuda" else None
    average = averaged(network) if whole else None

    def step() -> None:
        if recorded is None or recorded(x, labels) is None:
            passes(x, labels)
        if whole:
            torch.nn.utils.clip_grad_norm_(trained, 12.0)
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        optimizer.zero_grad(set_to_none=True)

    seconds = median(timed(step, x.device))
    return _peak(x.device), seconds


def timed(run: Callable[[], Any], device: torch.device) -> list[float]:
    """Seconds of each run, after one that warms up: at least three, or what 10 s allow.

    Short runs are repeated for two seconds: the first ones are faster than those that follow.
    """
    seconds: list[float] = []
    begun = time.perf_counter()
    while len(seconds) < 2 or time.perf_counter() - begun < (
        _SECONDS if len(seconds) < 1 + _RUNS else _REPEATED
    ):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _memory(device: torch.device) -> int:
    """Bytes held now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS") or 0


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    # refused, the peak is that of the whole process, of which a training step is the largest part
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(field: str) -> int | None:
    """A line of /proc/self/status in bytes; None where the system tells nothing of the kind.

    Without /proc the peak is known to getrusage, the present size to nobody.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return _peak_of_process() if field == "VmHWM" else None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _peak_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _say(**found: Any) -> None:
    print(json.dumps(found), flush=True)


def _end_with(parent: int) -> None:
    """End this process, whatever it is doing, once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main(text: str) -> None:
    """Measure as the JSON says; what goes wrong is printed as {"reason": ...}."""
    # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(text)
    threading.Thread(target=_end_with, args=(settings["parent"],), daemon=True).start()
    try:
        measure(settings)
    except Exception as error:
        _say(reason=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])


if __name__ == "__main__":
    main(sys.argv[1])
