"""`gridgate phantom`."""

from __future__ import annotations

import argparse
from typing import Any


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser("phantom", help="write a dataset of synthetic abdominal CTs")
    command.add_argument("folder", metavar="FOLDER")
    command.add_argument("--cases", type=int, default=20)
    command.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> None:
    """Write the dataset; print its folder."""
    from .....data.phantom.dataset import write_phantom_dataset

    print(write_phantom_dataset(options.folder, cases=options.cases, seed=options.seed))
