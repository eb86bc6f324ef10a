"""`gridgate evaluate`."""

from __future__ import annotations

import argparse
from typing import Any

from ..bundle_run import add_bundle_run, run_bundle


def add(subparsers: Any) -> None:
    """Describe the command."""
    text = "measure a checkpoint on a fold's validation cases"
    add_bundle_run(subparsers, "evaluate", text, source=("DATASET", "the dataset folder"))


def run(options: argparse.Namespace) -> None:
    """Evaluate."""
    run_bundle(options, "evaluate.yaml", "evaluating", "dataset_dir")
