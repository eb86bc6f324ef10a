"""`gridgate train`."""

from __future__ import annotations

import argparse
from typing import Any

from ..bundle_run import add_bundle_run, run_bundle


def add(subparsers: Any) -> None:
    """Describe the command."""
    about = ("DATASET", "folder with dataset.json, imagesTr, labelsTr")
    add_bundle_run(subparsers, "train", "train a bundle on a dataset folder", source=about)


def run(options: argparse.Namespace) -> None:
    """Train."""
    run_bundle(options, "train.yaml", "training", "dataset_dir")
