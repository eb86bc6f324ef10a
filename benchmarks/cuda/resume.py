"""Whether a training is the same twice, and after a resume.

    python benchmarks/cuda/resume.py RESULT.json --device cuda

A tiny network on phantoms: two trainings of the same seed, one that stops after half of its epochs
and is resumed, all with `deterministic`, two without, and the largest difference of any number in
their `last.pt`. An operation that has no deterministic implementation ends it with its name.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from gridgate.data.phantom.dataset import write_phantom_dataset
from gridgate.pipeline.models.checkpoints import LAST, load_checkpoint
from gridgate.pipeline.plans.bundle_folders import bundle_path
from gridgate.pipeline.workflow import BundleRun

BUNDLE, EPOCHS = "phantom_attention_unet", 2
WORDS = {
    "architecture::filters": "[2, 2, 4, 4, 4]",
    "spacing": "[10, 10, 10]",
    "roi_size": "[32, 32, 32]",
    "epochs": str(EPOCHS),
    "iterations_per_epoch": "2",
    "batch_size": "2",
    "val_interval": "1",
    "folds": "3",
    "num_workers": "0",
    "warmup_iterations": "2",
}


class Stopped(Exception):
    """The training was stopped on purpose."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_phantom_dataset(folder / "data", cases=3, progress=False)
        words = {**WORDS, "dataset_dir": str(data), "device": options.device}
        exact = {**words, "deterministic": "True"}
        train(folder / "exact", exact)
        train(folder / "again", exact)
        train(folder / "resumed", exact, stop_after=EPOCHS // 2)
        train(folder / "resumed", {**exact, "resume": "True"})
        train(folder / "usual", words)
        train(folder / "usual_again", words)
        result = {
            "device": options.device,
            "again": difference(folder / "exact", folder / "again"),
            "resumed": difference(folder / "exact", folder / "resumed"),
            "usual": difference(folder / "usual", folder / "usual_again"),
        }
    options.result.write_text(json.dumps(result, indent=1) + "\n")


def train(output: Path, words: Mapping[str, str], *, stop_after: int | None = None) -> None:
    """A training; it stops as if killed after so many epochs."""
    given = {**words, "output_dir": str(output)}
    run = BundleRun(bundle_path(BUNDLE), "train.yaml", "training", given)
    run.initialize()
    if stop_after is not None:
        trainer = run.parser.get_parsed_content("train::trainer")

        @trainer.on(Events.EPOCH_COMPLETED(once=stop_after))  # type: ignore[untyped-decorator]
        def stop() -> None:
            raise Stopped

    try:
        run.run()
    except Exception as error:
        if stop_after is None or not _is_stop(error):
            raise
    run.finalize()


def difference(first: Path, second: Path) -> float:
    """Largest difference of any number in the last.pt of two trainings; inf for other numbers."""
    tensors = [dict(_tensors(load_checkpoint(folder / LAST))) for folder in (first, second)]
    if tensors[0].keys() != tensors[1].keys():
        return float("inf")
    return max(
        float((tensors[0][name].double() - tensors[1][name].double()).abs().max())
        for name in tensors[0]
        if tensors[0][name].numel()
    )


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if value.dtype is not torch.uint8:  # states of random generators
            yield name, value
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _tensors(inside, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, inside in enumerate(value):
            yield from _tensors(inside, f"{name}/{index}")


def _is_stop(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    main()
