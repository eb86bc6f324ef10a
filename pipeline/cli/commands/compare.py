"""`gridgate compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError

_USUAL = ("dice", "nsd", "hd95_mm")
_EPILOG = """examples:
  gridgate compare E1 E2 E3 --to COMPARED
  gridgate compare E1 NNUNET/fold_0/validation --names ours nnunet --metrics dice iou --to COMPARED
"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "compare",
        help="compare runs on the same cases: means, tests, ranks, tables for a paper, a page",
        description="Compare runs on the cases that they share, from their tables of metrics: "
        "means and standard deviations, paired Wilcoxon and t-tests corrected for their number "
        "(Holm), bootstrap intervals, effect sizes, and the Decathlon's significance ranking.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option(
        "runs",
        nargs="+",
        metavar="RUN",
        help="an evaluation's folder, a .csv with a row per case and label, nnU-Net's summary.json "
        "or its folder",
    )
    option("--names", nargs="+", metavar="NAME", help="of the runs (default: their folders')")
    option("--metrics", nargs="+", metavar="METRIC", help=f"default: {' '.join(_USUAL)}")
    option(
        "--to",
        metavar="FOLDER",
        help="new folder for report.html, means and pairs as .md and .tex, and pairs.csv",
    )
    option("--pictures", type=int, default=3, metavar="N", help="cases on the page (default: 3)")
    option("--dataset", metavar="DATASET", help="whose labels the pictures show as outlines")
    option("--samples", type=int, default=9999, metavar="N", help="of the bootstrap intervals")
    option("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Compare."""
    from ....data.datasets.dataset import load_dataset
    from ....data.progress import progressed
    from ...comparison.paired import paired
    from ...comparison.ranking import ranking
    from ...comparison.runs import labels_left_out, read_runs
    from ...comparison.tables import markdown, means_table, pairs_table
    from ...reports.comparison_page import Compared

    if len(options.runs) < 2:
        raise ConfigError("two runs or more are wanted: gridgate compare RUN_A RUN_B")
    for name, least in (("samples", 1), ("seed", 0), ("pictures", 0)):
        if (number := getattr(options, name)) < least:
            raise ConfigError(f"--{name} {number}: give {least} or more")
    runs = read_runs(options.runs, options.names)
    metrics = _metrics(options.metrics, [run.metrics for run in runs])
    told = {"resamples": options.samples, "seed": options.seed}
    pairs = [
        row
        for metric in progressed(metrics, len(metrics), "comparing")
        for row in paired(runs, metric, **told)
    ]
    if not any(row.cases for row in pairs):
        raise ConfigError(
            "the runs have no case and label in common: "
            + "; ".join(f"{run.name} has {run.cases[0]}, {', '.join(run.labels)}" for run in runs)
        )
    dataset = None if options.dataset is None else load_dataset(options.dataset)
    for heads, rows in (means_table(runs, metrics), pairs_table(pairs)):
        print(markdown(heads, rows))
    for left_out in labels_left_out(runs, metrics):
        print(left_out)
    ranks = ranking(runs, metrics, seed=options.seed)
    compared = Compared(runs, metrics, pairs, ranks, options.pictures, dataset)
    for one in compared.ranks:
        print(f"rank {one.rank:.2f}  {one.name}  (first in {100 * one.firsts:.0f} % of samples)")
    if options.to is not None:
        _write(compared, Path(options.to))
        print(Path(options.to) / "report.html")


def _metrics(asked: list[str] | None, known: list[list[str]]) -> list[str]:
    """Those that all runs have."""
    shared = [metric for metric in known[0] if all(metric in of for of in known)]
    if asked is None:
        found = [metric for metric in _USUAL if metric in shared] or shared[:1]
    else:
        found = [metric for metric in asked if metric in shared]
        missing = [metric for metric in asked if metric not in shared]
        if missing:
            raise ConfigError(
                f"not all runs have {', '.join(missing)}; all have: {', '.join(shared) or 'none'}"
            )
    if not found:
        raise ConfigError("the runs have no metric in common")
    return found


def _write(compared: Any, folder: Path) -> None:
    """The page and the tables, in a folder that is there complete or not at all."""
    from ....data.new_folder import new_folder, refuse_existing
    from ....data.output_folder import OutputFolder
    from ...comparison.tables import latex, markdown, means_table, pairs_csv, pairs_table
    from ...reports.comparison_page import comparison_page

    refuse_existing(folder, "give another folder with --to")
    tables = {
        "means": (means_table(compared.runs, compared.metrics), "Mean and standard deviation."),
        "pairs": (pairs_table(compared.pairs), "Paired differences."),
    }
    with new_folder(folder) as work, OutputFolder(work) as output:
        for name, ((heads, rows), caption) in tables.items():
            texts = {"md": markdown(heads, rows), "tex": latex(heads, rows, caption=caption)}
            for ending, text in texts.items():
                output.write(f"{name}.{ending}", _writer(text.encode(errors="backslashreplace")))
        table = pairs_csv(compared.pairs)
        output.write("pairs.csv", _writer(table.encode(errors="backslashreplace")))
        output.write("report.html", _writer(comparison_page(compared, output)))


def _writer(content: bytes) -> Any:
    return lambda stream: stream.write(content)
