"""`gridgate check`."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...arguments import add_overwrite, may_overwrite
from ...console import add_console_options, say_last

if TYPE_CHECKING:
    from .....data.datasets.soundness.findings import Report

_EPILOG = """examples:
  gridgate check dataset
  gridgate check dataset --page pages --json found.json
  gridgate check dataset --fix mended --dry-run
  gridgate check dataset --fix mended

The exit code is 1 when there are errors; warnings and notes leave it 0. Nothing is ever written
into the dataset. A mended copy links what is sound, and its mended.csv says what became of each
file."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "check",
        help="find what is wrong in a dataset, and mend it",
        description="Open each case of a dataset once; tell what is wrong, why, and what to do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("dataset", metavar="DATASET", help="the dataset folder")
    command.add_argument("--json", metavar="FILE", help="write the findings as JSON")
    add_overwrite(command, "that file")
    command.add_argument(
        "--page", metavar="FOLDER", help="write a page, check.html, with a picture of each finding"
    )
    command.add_argument(
        "--fix", metavar="FOLDER", help="write a mended copy of the dataset to a new folder"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="with --fix: only say what it would do"
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes, each with one case in memory (default: one per CPU core)",
    )
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Check; print what was found.

    Raises:
        ConfigError: --dry-run without --fix.
        OutputError: a file of somebody else's would be replaced.
        DatasetError: errors were found, and none of them was mended.
    """
    from .....data.datasets.soundness.checking import check_soundness
    from .....data.errors import ConfigError, DatasetError
    from ....reports.check_text import check_text, headline

    if options.dry_run and not options.fix:
        raise ConfigError("--dry-run says what --fix FOLDER would do; give --fix too")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers {options.workers}: give 1 or more")
    _refuse_existing(options)
    report = check_soundness(options.dataset, workers=options.workers)
    say_last(headline(report) if options.quiet else check_text(report, width=_width()))
    _tell(report)
    if options.json:
        report.write_json(options.json, overwrite=may_overwrite(options))
    if options.page:
        from ....reports.check_page import write_check_page

        say_last(f"\n{write_check_page(options.page, report)}")
    stays = report.count("error")
    if options.fix:
        stays = _fix(report, Path(options.fix), dry_run=options.dry_run)
    if stays:
        errors = f"{stays} error{'' if stays == 1 else 's'}"
        raise DatasetError(f"{report.dataset}: {errors} in {report.cases} cases{_hint(options)}")


def _refuse_existing(options: argparse.Namespace) -> None:
    """Refuse files that would be replaced, before the cases are read."""
    from .....data.files import refuse_existing_file
    from .....data.output_folder import OutputFolder
    from ....reports.check_page import PAGE

    if options.json:
        refuse_existing_file(options.json, overwrite=may_overwrite(options))
    if options.page:
        OutputFolder(options.page).refuse_foreign([PAGE])


def _hint(options: argparse.Namespace) -> str:
    if options.dry_run:
        return "; leave out --dry-run to write the mended copy"
    if options.fix:
        return " could not be mended; see the copy's mended.csv"
    return "; gridgate check DATASET --fix FOLDER --dry-run says what can be mended"


def _fix(report: Report, out: Path, *, dry_run: bool) -> int:
    """How many errors stay."""
    from .....data.datasets.soundness.mending.copy import LOG, planned, write_mended
    from ....reports.check_text import plan_text

    plan = planned(report)
    if dry_run:
        say_last(f"\n{out} would be written:\n{plan_text(plan, width=_width())}")
        return report.count("error")
    rows = write_mended(report, out)
    counted = {action: 0 for action in ("mended", "linked", "left out", "not mended")}
    for row in rows:
        counted[row.action] += 1
    told = ", ".join(f"{count} {action}" for action, count in counted.items() if count)
    say_last(f"\n{out}: {told} files; {out / LOG} tells of each")
    trouble = {row.case for row in rows if row.action == "not mended"}
    return sum(
        finding.level == "error" and (not what or finding.case in trouble) for finding, what in plan
    )


def _tell(report: Report) -> None:
    """The findings as events, for --json-log."""
    from .....data.events import emit

    for finding in report.findings:
        emit(
            "finding",
            kind=finding.kind,
            level=finding.level,
            case=finding.case,
            text=finding.text,
        )


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 120)
