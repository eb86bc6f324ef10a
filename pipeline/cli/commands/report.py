"""`gridgate report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError, OutputError

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
    option("--pictures", type=int, default=3, metavar="N", help="cases to show (default: 3)")
    option("--title", help="of the page (default: the folder's name)")


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    from ....data.label_tables.reading import read_table
    from ....data.output_folder import OutputFolder
    from ...evaluation.results import METRICS_FILE
    from ...reports.run_pages import PAGE, EvaluationPage, InferencePage

    folder = Path(options.folder)
    if not (folder / "cases.csv").is_file():
        raise ConfigError(f"{folder}: is no folder of a run, which has cases.csv")
    names = read_table(folder / "labels.json")
    if not names:
        raise ConfigError(f"{folder / 'labels.json'}: names no labels; the run wrote it")
    labels = ["background", *(names.get(n, f"label {n}") for n in range(1, max(names) + 1))]
    told: dict[str, Any] = {"title": options.title or folder.resolve().name, "labels": labels}
    page: EvaluationPage | InferencePage
    if (folder / METRICS_FILE).is_file():
        page = EvaluationPage(**told, dataset_dir=options.dataset, pictures=options.pictures)
    elif options.dataset is not None:
        raise ConfigError(f"--dataset is for an evaluation; {folder} holds no {METRICS_FILE}")
    else:
        page = InferencePage(**told, pictures=options.pictures)
    if not page(OutputFolder(folder)):
        raise OutputError(f"{folder / PAGE}: was not written; the line above says why")
    print(folder / PAGE)
