"""What not running windows without body changes and saves, on scans of yours.

    python benchmarks/air_skipping.py BUNDLE SCANS --checkpoint model.pt [--settings "--overlap 0.5
    ..."]

Runs the `gridgate infer` command three times: with all windows, without those that hold no body
(which changes no voxel), and with windows laid over the box around the body (--fit_region True,
which moves windows, so that masks differ along borders). Compares the masks voxel by voxel and
writes a table to results/air_skipping.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
RUNS = {
    "all": ["--body_threshold", "null"],
    "body": ["--body_threshold", "-500"],
    "fitted": ["--body_threshold", "-500", "--fit_region", "True"],
}


def main() -> int:
    """Entry point; the exit code is 1 when no scan could be compared."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("scans")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--settings", default="", help="more settings of the inference config")
    parser.add_argument("--results", default=str(HERE / "results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        tables = {}
        for name, settings in RUNS.items():
            words = [
                "infer",
                options.bundle,
                options.scans,
                f"{work}/{name}",
                "--checkpoint",
                options.checkpoint,
            ]
            words += [*settings, *shlex.split(options.settings)]
            subprocess.run(
                [sys.executable, "-m", "gridgate.pipeline.cli.main", *words], check=False
            )
            written = Path(work, name, "cases.csv")
            if not written.exists():
                sys.exit(
                    f"gridgate {shlex.join(words)} ended before its first case; its error stands "
                    "above"
                )
            with written.open(newline="") as file:
                tables[name] = {
                    row["case"]: row for row in csv.DictReader(file) if row["status"] == "ok"
                }
        cases = sorted(set.intersection(*(set(table) for table in tables.values())))
        runs = [name for name in RUNS if name != "all"]
        rows = {name: [compare(Path(work), case, name, tables) for case in cases] for name in runs}
    page = markdown(rows, "python benchmarks/air_skipping.py " + shlex.join(sys.argv[1:]))
    Path(options.results).mkdir(parents=True, exist_ok=True)
    (Path(options.results) / "air_skipping.md").write_text(page)
    print(page)
    return int(not cases)


def compare(
    work: Path, case: str, run: str, tables: dict[str, dict[str, dict[str, str]]]
) -> dict[str, Any]:
    """One scan's numbers."""
    everything, fewer = tables["all"][case], tables[run][case]
    a, b = (np.asarray(nib.load(work / name / f"{case}.nii.gz").dataobj) for name in ("all", run))
    labels = [label for label in np.union1d(np.unique(a), np.unique(b)) if label > 0]
    dice = [
        2 * int(((a == x) & (b == x)).sum()) / (int((a == x).sum()) + int((b == x).sum()))
        for x in labels
    ]
    return {
        "case": case,
        "windows": int(everything["windows"]),
        "skipped": int(fewer["windows_skipped"]),
        "different": int((a != b).sum()),
        "foreground": int(((a > 0) | (b > 0)).sum()),
        "dice": sum(dice) / len(dice) if dice else 1.0,
        "forward_all": float(everything["forward_s"]),
        "forward": float(fewer["forward_s"]),
    }


def markdown(rows: dict[str, list[dict[str, Any]]], command: str) -> str:
    """The page."""
    facts = (
        "import json; from gridgate.pipeline.models.machine import machine_facts; "
        "print(json.dumps(machine_facts()))"
    )
    found = json.loads(
        subprocess.run(
            [sys.executable, "-c", facts], check=True, capture_output=True, text=True
        ).stdout
    )
    lines = [
        "# Windows without body",
        "",
        f"`{command}`",
        "",
        *(f"- {name}: {value}" for name, value in found),
    ]
    for run, table in rows.items():
        lines += [
            "",
            f"## `{shlex.join(RUNS[run])}` against `{shlex.join(RUNS['all'])}`",
            "",
            "| scan | windows | not run | saved | voxels that differ | of foreground | Dice | "
            "forward all | fewer |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in table:
            share = row["different"] / max(1, row["foreground"])
            lines.append(
                f"| {row['case']} | {row['windows']} | {row['skipped']} | "
                f"{row['skipped'] / row['windows']:.0%} "
                f"| {row['different']} | {share:.4%} | {row['dice']:.4f} | "
                f"{row['forward_all']:.1f} s "
                f"| {row['forward']:.1f} s |"
            )
        windows, skipped = (sum(row[name] for row in table) for name in ("windows", "skipped"))
        lines += [
            "",
            f"{len(table)} scans, {windows} windows, {skipped / max(1, windows):.1%} not run.",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
