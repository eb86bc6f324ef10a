"""`gridgate merge`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError
from ..completion import files
from ..console import add_console_options, say_last

_EPILOG = """examples:
  gridgate merge masks
  gridgate merge masks --report no

What shards have written is in OUTPUT/.gridgate until it is merged. The last shard does it by
itself; this command does it at any time, also while shards run."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "merge",
        help="one table of what the shards of a run have done so far",
        description="Put the tables of all shards into OUTPUT/cases.csv, and those of an "
        "evaluation into metrics.csv and summary.json; say what is done, failed and missing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option("folder", metavar="OUTPUT", help="that the shards write to").completer = files
    option(
        "--report",
        choices=("yes", "no"),
        default="yes",
        help="whether to write report.html too (default: yes)",
    )
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Merge; ends with an error where cases have failed, or are missing and no shard runs."""
    from ....data.shared_folder import SharedFolder
    from ...batch.evaluator import CasesFailedError
    from ...batch.shards.standing import standing
    from ...batch.shards.tables import merge
    from ...evaluation.shards import write_shards_results
    from ...reports.run_pages import page_of_folder

    folder = SharedFolder(options.folder)
    if not Path(options.folder).is_dir() or not folder.records.is_dir():
        raise ConfigError(f"{options.folder}: no shards have written there (--shard i/n)")
    with folder, folder.gate():
        found = standing(folder)
        if found is None:
            raise ConfigError(
                f"{options.folder}: no run that is shared between shards is under way there; "
                "cases.csv is whole"
            )
        news = merge(folder)
        write_shards_results(folder)
        if news and options.report == "yes":
            page_of_folder(folder.folder)(folder)
    text = f"{options.folder}: {found}"
    if found.failed or (found.missing and not found.running):
        raise CasesFailedError(text)
    say_last(text)
