"""`gridgate combine`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..completion import files
from ..console import add_console_options, say_last, silence_handlers_of

_EPILOG = """examples:
  gridgate train B D F0 --fold 0 --keep last
  gridgate evaluate F0 D E0 --fold 0 --keep_largest false --smallest_piece null
  (the same of the other folds)
  gridgate combine D O --trainings F0 F1 F2 F3 F4 --evaluations E0 E1 E2 E3 E4

These are the last steps of gridgate fit. What it chooses, and how, is on the bundle's page."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "combine",
        help="one cross-validated bundle of folds that were trained one by one",
        description="Choose thresholds and post-processing by cross-validation, and put the "
        "networks of all folds together as one bundle.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option("dataset", metavar="DATASET", help="the dataset folder").completer = files
    option("output", metavar="OUTPUT", help="new folder; the bundle").completer = files
    option(
        "--trainings",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="output folders of gridgate train, one for each fold",
    ).completer = files
    option(
        "--evaluations",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="output folders of gridgate evaluate, one for each training; all pieces kept",
    ).completer = files
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Combine."""
    from ...fitting.by_hand import combine

    silence_handlers_of("monai")
    trainings, evaluations = (
        [Path(folder) for folder in folders] for folders in (options.trainings, options.evaluations)
    )
    say_last(str(combine(Path(options.dataset), trainings, evaluations, Path(options.output))))
