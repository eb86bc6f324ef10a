"""`gridgate train`."""

from __future__ import annotations

import argparse
from typing import Any

from ....data.events import listening
from ..bundle_run import add_bundle_run, given_words, run_bundle
from ..console import say_last

EXAMPLES = (
    "gridgate train phantom_attention_unet dataset trained",
    "gridgate train phantom_attention_unet -i dataset -o trained --fold 1 --device cuda",
    "gridgate train phantom_attention_unet dataset trained --splits splits_final.json",
    "gridgate train phantom_attention_unet dataset trained --folds 1",
    "gridgate train phantom_attention_unet dataset trained --resume True --epochs 200",
    "gridgate train phantom_attention_unet dataset trained --train::optimizer::lr 0.001",
    "gridgate train phantom_attention_unet dataset trained --epochs 2 --profile",
)


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = add_bundle_run(
        subparsers,
        "train",
        "train a bundle's network on a dataset",
        config="train.yaml",
        source=("DATASET", "the dataset folder"),
        output="folder for the training; it is a bundle too, with the weights",
        examples=EXAMPLES,
    )
    command.add_argument(
        "--profile",
        nargs="?",
        const="True",
        choices=("True", "False", "true", "false"),
        metavar="True",
        help="tell where the time goes, at the end and in OUTPUT/profile.csv",
    )


def run(options: argparse.Namespace) -> None:
    """Train."""
    words = given_words(options, "dataset_dir")
    if options.profile is not None:
        words["profile"] = options.profile
    with listening(_LastLine()):
        run_bundle(options, "training", words)


class _LastLine:
    """Keeps the last epoch's facts, for the line at the end."""

    def __init__(self) -> None:
        self.best = ""

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        if event == "epoch" and facts["best_epoch"] is not None:
            self.best = f", mean Dice {facts['best_dice']:.3f} after epoch {facts['best_epoch']}"
        elif event == "trained":
            told = f"trained for {facts['epoch']} epochs{self.best}"
            if not facts["held_out"]:
                told += f" on {facts['cases']} cases, and none was held out"
            say_last(f"{facts['output']}: {told}; it {facts['ended']}")
