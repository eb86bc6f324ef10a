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
    from ....data.label_tables.files import JSON
    from ....data.label_tables.reading import read_table
    from ....data.output_folder import OutputFolder
    from ...evaluation.results import METRICS_FILE
    from ...reports.run_pages import PAGE, EvaluationPage, InferencePage

    folder = Path(options.folder)
    if not (folder / "cases.csv").is_file():
        raise ConfigError(f"{folder}: is no folder of a run, which has cases.csv")
    measured = (folder / METRICS_FILE).is_file()
    names = read_table(folder / JSON) or (_measured_names(folder) if measured else {})
    if not names:
        raise ConfigError(f"{folder / JSON}: names no labels; the run wrote it")
    # in the order of their values, which regions need not be
    values = sorted(names)
    labels = ["background", *(names[value] for value in values)]
    regions = None if values == list(range(1, len(values) + 1)) else values
    told: dict[str, Any] = {"title": options.title or folder.resolve().name, "labels": labels}
    told |= {"pictures": options.pictures, "region_values": regions, "tells_how": False}
    page: EvaluationPage | InferencePage
    if measured:
        page = EvaluationPage(**told, dataset_dir=options.dataset)
    elif options.dataset is not None:
        raise ConfigError(f"--dataset is for an evaluation; {folder} holds no {METRICS_FILE}")
    else:
        page = InferencePage(**told)
    if not page(OutputFolder(folder)):
        raise OutputError(f"{folder / PAGE}: was not written; the line above says why")
    print(folder / PAGE)


def _measured_names(folder: Path) -> dict[int, str]:
    """Value -> label of metrics.csv, for a fit's folder, which has no table of labels."""
    from ...evaluation.results import read_results

    return {row.value: row.label for of in read_results(folder).values() for row in of.values()}
