"""A bundle's cross-validation, fold by fold, and the weights of a training on all cases.

    python benchmarks/training/cross_validation.py head_neck_attention_unet
    ../shared/data/openkbp_head_neck --side_by_side 2 --folds 0 1 2 3 4 all

Each fold is trained with the bundle's own settings, and its cases are measured in the label files'
own grids. What results/cross_validation_<bundle>.csv has of a fold is kept, so that the folds can
be done on several days; a training that was stopped goes on. "all" trains on every case and writes
its weights, in half precision, to WORK/<bundle>.pt. Writes the .csv and a table beside it.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

HERE = Path(__file__).resolve().parent
ALL = "all"
COLUMNS = ("fold", "case", "label", "dice", "hd95_mm", "minutes")
_WRITING = Lock()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="a bundle's name, or its folder")
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--folds", nargs="+", default=["0", "1", "2", "3", "4", ALL])
    parser.add_argument("--side_by_side", type=int, default=1, help="trainings, of a thread each")
    parser.add_argument("--work", type=Path, default=Path("cross_validation"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options, options.settings = parser.parse_known_args()
    if options.side_by_side > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    options.name = Path(options.bundle).name
    options.table = options.results / f"cross_validation_{options.name}.csv"
    known = {row["fold"] for row in rows_of(options.table)}
    wanted = [fold for fold in options.folds if fold not in known]
    with ThreadPoolExecutor(options.side_by_side) as pool:
        for _ in pool.map(lambda fold: run_fold(fold, options), wanted):
            pass
    write_page(options)
    return 0


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows so far."""
    if not table.is_file():
        return []
    with open(table, newline="") as file:
        return list(csv.DictReader(file))


def run_fold(fold: str, options: argparse.Namespace) -> None:
    """Train a fold, and measure it; or train all cases, and write their weights."""
    training, evaluation = options.work / f"fold_{fold}", options.work / f"fold_{fold}_cases"
    asked = ["--folds", "1"] if fold == ALL else ["--fold", fold]
    begun = training / "last.pt"
    gridgate(
        *("train", options.bundle, options.folder, str(training), "--quiet", *asked),
        *options.settings,
        *(["--resume", "True"] if begun.is_file() else []),
    )
    if fold == ALL:
        weights = options.work / f"{options.name}.pt"
        weights.unlink(missing_ok=True)
        gridgate("export", str(training), str(weights))
        return
    gridgate("evaluate", str(training), options.folder, str(evaluation), "--quiet", *asked)
    with open(training / "metrics_train.csv", newline="") as file:
        minutes = float(list(csv.DictReader(file))[-1]["seconds"]) / 60
    with open(evaluation / "metrics.csv", newline="") as file:
        found = [
            {"fold": fold, "minutes": f"{minutes:.1f}", **{key: row[key] for key in COLUMNS[1:-1]}}
            for row in csv.DictReader(file)
        ]
    with _WRITING:
        rows = [*rows_of(options.table), *found]
        rows.sort(key=lambda row: row["fold"])  # of equal folds in their order
        with open(options.table, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        write_page(options)


def gridgate(*words: str) -> None:
    """Run the command."""
    print(shlex.join(["gridgate", *words]), flush=True)
    subprocess.run([sys.executable, "-m", "gridgate", *words], check=True)


def write_page(options: argparse.Namespace) -> None:
    """The table of the folds that are done."""
    rows = rows_of(options.table)
    if not rows:
        return
    folds = sorted({row["fold"] for row in rows})
    labels = list(dict.fromkeys(row["label"] for row in rows))
    lines = [
        f"# Cross-validation of {options.name}",
        "",
        f"`python benchmarks/training/cross_validation.py {options.name} {options.folder} "
        f"--side_by_side {options.side_by_side} {shlex.join(options.settings)}`".replace(" `", "`"),
        "",
        f"| fold | cases | minutes | {' | '.join(labels)} | mean |",
        "|---|---|---|" + "---|" * (len(labels) + 1),
    ]
    for fold in folds:
        of_fold = [row for row in rows if row["fold"] == fold]
        cases = len({row["case"] for row in of_fold})
        lines.append(_line(fold, cases, of_fold[0]["minutes"], of_fold, labels))
    lines.append(_line("all of them", len({row["case"] for row in rows}), "", rows, labels))
    options.table.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _line(
    name: str, cases: int, minutes: str, rows: list[dict[str, str]], labels: list[str]
) -> str:
    means = [
        statistics.fmean(
            float(row["dice"]) for row in rows if row["label"] == label and row["dice"]
        )
        for label in labels
    ]
    told = " | ".join(f"{one:.4f}" for one in [*means, statistics.fmean(means)])
    return f"| {name} | {cases} | {minutes} | {told} |"


if __name__ == "__main__":
    sys.exit(main())
