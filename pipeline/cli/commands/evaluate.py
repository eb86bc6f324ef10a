"""`gridgate evaluate`."""

from __future__ import annotations

import argparse
from typing import Any

from ....data.events import listening
from ..bundle_run import add_bundle_run, given_words, run_bundle
from ..console import say_last

EXAMPLES = (
    "gridgate evaluate trained dataset scores",
    "gridgate evaluate trained -i dataset -o scores --fold 1 --device cuda",
    "gridgate evaluate trained unseen scores --part all --checkpoint other/model.pt",
)


def add(subparsers: Any) -> None:
    """Describe the command."""
    add_bundle_run(
        subparsers,
        "evaluate",
        "measure a checkpoint on a fold's validation cases",
        config="evaluate.yaml",
        source=("DATASET", "the dataset folder"),
        output="folder for the masks, metrics.csv and summary.json",
        examples=EXAMPLES,
    )


def run(options: argparse.Namespace) -> None:
    """Evaluate."""
    with listening(_say_last):
        run_bundle(options, "evaluating", given_words(options, "dataset_dir"))


def _say_last(event: str, facts: dict[str, Any]) -> None:
    if event == "evaluated" and not facts["failed"]:
        dice = facts["mean"]["dice"]
        told = "" if dice is None else f", mean Dice {dice:.3f}"
        say_last(f"{facts['output']}: {facts['cases']} cases measured{told}")
