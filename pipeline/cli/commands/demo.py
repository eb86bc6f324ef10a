"""`gridgate demo`."""

from __future__ import annotations

import argparse
from typing import Any


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "demo", help="phantoms, training, evaluation, masks and a report, in minutes"
    )
    command.add_argument("--folder", default="demo", help="where to write (default: ./demo)")


def run(options: argparse.Namespace) -> None:
    """Run the demo."""
    from ..demo_steps import run_demo

    run_demo(options.folder)
