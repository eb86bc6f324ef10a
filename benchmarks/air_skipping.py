"""What not running windows without body changes and saves, on scans of yours.

    python benchmarks/air_skipping.py BUNDLE SCANS --checkpoint model.pt [--settings "--overlap 0.5 ..."]

Runs the `gridgate infer` command twice, with all windows and without those that hold no body, and compares the masks
voxel by voxel. Writes a table to results/air_skipping.md.
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

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Entry point; the exit code is 1 when no scan could be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("scans")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--settings", default="", help="more settings of the inference config")
    parser.add_argument("--results", default=str(HERE / "results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        tables = {}
        for name, threshold in (("all", "null"), ("body", "-500")):
            words = ["infer", options.bundle, options.scans, f"{work}/{name}", "--checkpoint", options.checkpoint]
            words += ["--body_threshold", threshold, *shlex.split(options.settings)]
            subprocess.run([sys.executable, "-m", "gridgate.pipeline.cli", *words], check=False)
            with open(f"{work}/{name}/cases.csv", newline="") as file:
                tables[name] = {row["case"]: row for row in csv.DictReader(file) if row["status"] == "ok"}
        rows = [
            compare(Path(work), case, tables["all"][case], tables["body"][case])
            for case in sorted(tables["all"].keys() & tables["body"].keys())
        ]
    page = markdown(rows, "python benchmarks/air_skipping.py " + shlex.join(sys.argv[1:]))
    Path(options.results).mkdir(parents=True, exist_ok=True)
    (Path(options.results) / "air_skipping.md").write_text(page)
    print(page)
    return int(not rows)


def compare(work: Path, case: str, everything: dict[str, str], body: dict[str, str]) -> dict[str, float | int | str]:
    """One scan's numbers."""
    a, b = (np.asarray(nib.load(work / run / f"{case}.nii.gz").dataobj) for run in ("all", "body"))
    either = int(((a > 0) | (b > 0)).sum())
    return {
        "case": case,
        "windows": int(everything["windows"]),
        "skipped": int(body["windows_skipped"]),
        "different": int((a != b).sum()),
        "foreground": either,
        "forward_all": float(everything["forward_s"]),
        "forward_body": float(body["forward_s"]),
    }


def markdown(rows: list[dict[str, float | int | str]], command: str) -> str:
    """The page."""
    facts = "import json; from gridgate.pipeline.machine import machine_facts; print(json.dumps(machine_facts()))"
    found = json.loads(subprocess.run([sys.executable, "-c", facts], check=True, capture_output=True, text=True).stdout)
    lines = ["# Windows without body", "", f"`{command}`", "", *(f"- {name}: {value}" for name, value in found), ""]
    lines += [
        "| scan | windows | not run | saved | voxels that differ | of the foreground | forward, all | without air |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        saved, share = int(row["skipped"]) / int(row["windows"]), int(row["different"]) / max(1, int(row["foreground"]))
        lines.append(
            f"| {row['case']} | {row['windows']} | {row['skipped']} | {saved:.0%} | {row['different']} | {share:.4%} "
            f"| {row['forward_all']:.1f} s | {row['forward_body']:.1f} s |"
        )
    windows = sum(int(row["windows"]) for row in rows)
    saved = sum(int(row["skipped"]) for row in rows) / max(1, windows)
    return "\n".join([*lines, "", f"{len(rows)} scans, {windows} windows, {saved:.1%} not run.", ""])


if __name__ == "__main__":
    sys.exit(main())
