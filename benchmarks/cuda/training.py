"""A bundle's training for a number of seconds: speed, share of the time the GPU computes, Dice.

    python benchmarks/cuda/training.py BUNDLE DATASET RESULT.json --device cuda --seconds 60

Two short trainings tell how long an iteration takes, with windows that are cut on the device and
with windows that worker processes make; the third, with the bundle's own settings, is as many
epochs as fit into the seconds, with the learning rate's whole schedule, and one validation at its
end.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Sequence
from operator import sub
from pathlib import Path
from statistics import median
from typing import Any

from gridgate.pipeline.process_settings import set_up_process

set_up_process()  # before PyTorch
import torch  # noqa: E402
import yaml  # noqa: E402
from gpu_clock import GpuClock  # noqa: E402
from ignite.engine import Engine, Events  # noqa: E402

from gridgate.pipeline.plans.bundle_folders import bundle_path  # noqa: E402
from gridgate.pipeline.workflow import BundleRun  # noqa: E402

TINY = {  # of a dry run
    "architecture::filters": "[2, 2, 4, 4, 4]",
    "roi_size": "[32, 32, 32]",
    "spacing": "[8, 8, 8]",
    "num_workers": "0",
    "batch_size": "1",
    "iterations_per_epoch": "2",
}


SHORT = 120  # iterations, to see how long one takes; workers are a few dozen ahead at the start
_TELL = 5.0  # seconds between two lines of a training


class Times:
    """When each iteration of a trainer began, had its batch, and ended, by time.monotonic()."""

    def __init__(self, trainer: Engine) -> None:
        self.began: list[float] = []
        self.got: list[float] = []
        self.ended: list[float] = []
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self._begin)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._end)
        self._told = time.monotonic()

    def seconds(self) -> float:
        """Of an iteration with the wait for its batch: the median of the second half."""
        spans = [end - begin for begin, end in zip(self.began, self.ended, strict=False)]
        return median(spans[len(spans) // 2 :])

    def parts(self) -> dict[str, float]:
        """Seconds of waiting for batches, of the steps, and of all between two iterations."""
        between = zip(self.ended, self.began[1:], strict=False)
        return {
            "waiting_s": sum(map(sub, self.got, self.began)),
            "steps_s": sum(map(sub, self.ended, self.got)),
            "between_s": sum(begin - end for end, begin in between),
        }

    def _begin(self, _: Engine) -> None:
        self.began.append(time.monotonic())
        if self.ended and self.began[-1] > self._told + _TELL:
            self._told = self.began[-1]
            parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.parts().items())
            print(f"{len(self.ended)} iterations: {parts}", flush=True)

    def _get(self, _: Engine) -> None:
        self.got.append(time.monotonic())

    def _end(self, engine: Engine) -> None:
        # the trainer is at most a step ahead of the GPU; only at the end is that waited for
        last = (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0)
        if engine.state.iteration == last and torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ended.append(time.monotonic())


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("dataset")
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tiny", action="store_true", help="a dry run")
    options = parser.parse_args(arguments)
    words = {"dataset_dir": options.dataset, "device": options.device, "patience": "0"}
    words |= TINY if options.tiny else {}
    with tempfile.TemporaryDirectory() as folder:
        short = words if options.tiny else {**words, "iterations_per_epoch": str(SHORT)}
        each = {
            name: short_seconds(options.bundle, f"{folder}/{name}", short, on_device)
            for name, on_device in (("by_workers", False), ("on_device", True))
        }
        if options.tiny:
            epochs, per_epoch = 1, int(TINY["iterations_per_epoch"])
        else:
            per_epoch = iterations_per_epoch(options.bundle)
            epochs = max(1, round(options.seconds / (each["on_device"] * per_epoch)))
        result = measured(options.bundle, f"{folder}/long", words, epochs, per_epoch)
    result["windows"] = {name: 1 / seconds for name, seconds in each.items()}  # iterations per s
    options.result.write_text(json.dumps({"device": options.device, **result}, indent=1) + "\n")


def short_seconds(bundle: str, output: str, words: dict[str, str], on_device: bool) -> float:
    """Of an iteration, of a training of one epoch."""
    began = time.monotonic()
    words = {**words, "windows_on_device": str(on_device)}
    times, _ = train(bundle, output, words, epochs=1, validates=False)
    print(
        f"windows on the device {on_device}: {time.monotonic() - began:.0f} s, "
        f"{times.seconds():.4f} s an iteration"
    )
    return times.seconds()


def iterations_per_epoch(bundle: str) -> int:
    """The bundle's own."""
    config = yaml.safe_load((bundle_path(bundle) / "configs" / "train.yaml").read_text())
    return int(config["iterations_per_epoch"])


def measured(
    bundle: str, output: str, words: dict[str, str], epochs: int, per_epoch: int
) -> dict[str, Any]:
    """The numbers of a training of so many epochs."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    warmup = str(max(1, epochs * per_epoch // 20))
    with GpuClock() as clock:
        times, _ = train(bundle, output, {**words, "warmup_iterations": warmup}, epochs=epochs)
        seconds = times.ended[-1] - times.began[0]
        busy = clock.busy_percent(times.began[0], times.ended[-1])
    with open(f"{output}/metrics_train.csv", newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    dice = {
        name.removeprefix("dice_"): float(value)
        for name, value in row.items()
        if name.startswith("dice_") and value
    }
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
    return {
        "bundle": bundle,
        "epochs": epochs,
        "iterations": len(times.ended),
        "seconds": seconds,
        **times.parts(),
        "iterations_per_s": len(times.ended) / seconds,
        "gpu_busy_percent": busy,
        "gpu_peak_gb": peak,
        "loss": float(row["loss"]),
        "dice": dice,
    }


def train(
    bundle: str, output: str, words: dict[str, str], *, epochs: int, validates: bool = True
) -> tuple[Times, int]:
    """A training with one validation, at its end; its times, and iterations per epoch."""
    interval = epochs if validates else epochs + 1
    words = {**words, "epochs": str(epochs), "val_interval": str(interval), "output_dir": output}
    run = BundleRun(bundle_path(bundle), "train.yaml", "training", words)
    run.initialize()
    times = Times(run.parser.get_parsed_content("train::trainer"))
    run.run()
    run.finalize()
    return times, int(run.parser.get_parsed_content("iterations_per_epoch"))


if __name__ == "__main__":
    main()
