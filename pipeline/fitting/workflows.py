"""The two workflows of a fold, run here as `gridgate train` and `gridgate evaluate` run them."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...data.errors import user_error
from ..batch.evaluator import CasesFailedError
from ..evaluation.results import read_summary
from ..models.checkpoints import LAST
from ..training.engine.soundness import TrainingError
from ..training.told import within_fit
from ..workflow import BundleRun


def train(bundle: Path, dataset: Path, output: Path, settings: Mapping[str, Any]) -> None:
    """Train a fold; go on where a training of the same settings was stopped."""
    resume = (output / LAST).is_file()
    try:
        with within_fit():
            _run(bundle, "train.yaml", "training", dataset, output, {**settings, "resume": resume})
    except TrainingError as error:
        raise TrainingError(
            f"{output}: {error}. To a fit --learning_rate and --batch_size are given as "
            "--training::learning_rate and --training::batch_size, and another network's weights "
            "not at all; with another network, window or batch it is another fit, in a new folder. "
            "--num_workers and --cache_dir may be given when the same fit goes on"
        ) from error


def evaluate(
    bundle: Path, dataset: Path, output: Path, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Segment and measure the cases of a fold; cases that are done are not run again.

    Returns:
        Case -> why it failed, of those that did; the others are measured.

    Raises:
        CasesFailedError: none could be measured.
    """
    # a page of all folds comes at the end
    settings = {**settings, "report": False}
    try:
        _run(bundle, "evaluate.yaml", "evaluating", dataset, output, settings)
    except CasesFailedError:
        summary = read_summary(output)
        failed: dict[str, str] = summary["failed"]
        if not summary["cases"]:
            raise
        return failed
    return {}


def _run(
    bundle: Path,
    config: str,
    run_id: str,
    dataset: Path,
    output: Path,
    settings: Mapping[str, Any],
) -> None:
    words = {name: _word(value) for name, value in settings.items()}
    words |= {"dataset_dir": str(dataset), "output_dir": str(output)}
    workflow = BundleRun(bundle, config, run_id, words)
    deterministic = torch.get_deterministic_debug_mode()
    try:
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # a training's own text is no advice for a fit
    except RuntimeError as error:  # MONAI's around what an expression of a config raises
        known = user_error(error)
        if known is None:
            raise
        raise known from known.__cause__
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        del workflow
        gc.collect()  # engines and their handlers are circles; the next step wants the memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
