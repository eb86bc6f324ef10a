"""`gridgate report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ....data.errors import OutputError
from ..arguments import parse_overrides

_EPILOG = """examples:
  gridgate report masks --pictures 20
  gridgate report scores --dataset dataset
"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "report",
        help="write the page of a run again: report.html",
        description="Write report.html of an evaluation or of a run over scans again, from its "
        "tables and masks: with more pictures, or where it was left out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option("folder", metavar="RUN", help="output folder of gridgate evaluate or infer")
    option("--dataset", metavar="DATASET", help="that was evaluated, for the truth in the pictures")
    option("--merge_labels", metavar="MAP", help="of the dataset, as the evaluation was given it")
    option("--pictures", type=int, default=3, metavar="N", help="cases to show (default: 3)")
    option("--title", help="of the page (default: the folder's name)")


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    from ....data.output_folder import OutputFolder
    from ...reports.run_pages import PAGE, page_of_folder

    folder = Path(options.folder)
    given = [] if options.merge_labels is None else ["--merge_labels", options.merge_labels]
    page = page_of_folder(
        folder,
        title=options.title,
        dataset_dir=options.dataset,
        pictures=options.pictures,
        **parse_overrides(given),
    )
    if not page(OutputFolder(folder)):
        raise OutputError(f"{folder / PAGE}: was not written; the line above says why")
    print(folder / PAGE)
