"""nnU-Net trained on a fold for some minutes, and measured as `gridgate evaluate` measures.

    python benchmarks/training/beside_nnunet.py ../shared/data/msd_hippocampus --minutes 20
    --nnunet-python /tmp/nnunet/bin/python --ours EVALUATION

Exports the dataset with our folds, has nnU-Net plan and preprocess it, trains its default
configuration as long as asked on the same cores, and compares the masks of the fold's validation
cases with the label files by our own metrics. EVALUATION is what `gridgate evaluate` wrote of a
training of the same time. nnU-Net comes from an environment of its own. Planning, preprocessing and
validation are outside of the time. Writes results/nnunet_<dataset folder>.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NUMBER = 501


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--trainer", default="nnUNetTrainer")
    parser.add_argument("--cases", type=int, help="of the fold's, the first: its mirroring is slow")
    parser.add_argument("--nnunet-python", required=True)
    parser.add_argument("--ours", type=Path, help="an output folder of gridgate evaluate")
    parser.add_argument("--work", type=Path, default=Path("nnunet"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    dataset = Path(options.folder).resolve().name
    work = options.work.resolve() / dataset
    os.environ |= {name: str(work / name.removeprefix("nnUNet_")) for name in FOLDERS}
    os.environ |= {"nnUNet_n_proc_DA": str(os.cpu_count()), "nnUNet_compile": "f"}
    prepared = prepare(options, work)
    result = work / "result.json"
    if not result.exists():
        job = {
            "dataset": str(NUMBER),
            "fold": options.fold,
            "trainer": options.trainer,
            "minutes": options.minutes,
            "cases": options.cases,
            "result": str(result),
        }
        (work / "job.json").write_text(json.dumps(job))
        script = HERE.parent / "contestants" / "nnunet_training.py"
        run(options.nnunet_python, str(script), str(work / "job.json"))
    found = json.loads(result.read_text())
    dice = measured(options, found["masks"])
    write_page(options, dataset, found | {"prepared_s": prepared}, dice)
    return 0


FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def prepare(options: argparse.Namespace, work: Path) -> float:
    """Export, plan and preprocess, once; the seconds that nnU-Net took."""
    done = work / "prepared.json"
    if not done.exists():
        raw = work / "raw" / f"Dataset{NUMBER}_Compared"
        run(
            *(sys.executable, "-m", "gridgate", "export-dataset", options.folder),
            *("--nnunet", str(raw), "--quiet"),
        )
        began = time.perf_counter()
        entry = (
            "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import "
            "plan_and_preprocess_entry as entry; entry()"
        )
        processes = str(os.cpu_count())
        run(
            *(options.nnunet_python, "-c", entry, "-d", str(NUMBER), "-c", "3d_fullres"),
            *("-npfp", processes, "-np", processes),
        )
        seconds = time.perf_counter() - began
        shutil.copy(raw / "splits_final.json", work / "preprocessed" / raw.name)
        done.write_text(json.dumps(seconds))
    return float(json.loads(done.read_text()))


def run(*words: str) -> None:
    """Run a command, which is told."""
    print(shlex.join(words), flush=True)
    subprocess.run(words, check=True)


def measured(options: argparse.Namespace, masks: str) -> dict[str, list[float]]:
    """Label -> Dice of each validation case, in the label files' own grids."""
    from gridgate.data.datasets.dataset import load_dataset
    from gridgate.pipeline.evaluation.measure import measure_files

    labels = list(load_dataset(options.folder).labels)
    dice: dict[str, list[float]] = {name: [] for name in labels[1:]}
    for case in held_out(options):
        assert case.label is not None
        for row in measure_files(Path(masks) / f"{case.id}.nii.gz", case.label, labels):
            dice[row.label].append(row.dice)
    return dice


def held_out(options: argparse.Namespace) -> list[Any]:
    """The validation cases of the fold, as many as are asked for."""
    from gridgate.data.datasets.parts import part_cases

    cases = part_cases(options.folder, part="validation", fold=options.fold)
    return sorted(cases, key=lambda case: case.id)[: options.cases]


def ours(folder: Path, cases: set[str]) -> dict[str, list[float]]:
    """The same of an evaluation of ours."""
    dice: dict[str, list[float]] = {}
    with open(folder / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["case"] not in cases:
                continue
            dice.setdefault(row["label"], []).append(float(row["dice"] or "nan"))
    return dice


def write_page(
    options: argparse.Namespace,
    dataset: str,
    found: dict[str, Any],
    theirs: dict[str, list[float]],
) -> None:
    """Both side by side."""
    from gridgate.pipeline.models.machine import machine_facts

    rows = {f"nnU-Net {found['version']}": theirs}
    if options.ours is not None:
        rows["Gridgate"] = ours(options.ours, {case.id for case in held_out(options)})
    labels = list(theirs)
    patch = " x ".join(map(str, found["patch"]))
    lines = [
        f"# nnU-Net beside it: {dataset}, {options.minutes:g} minutes",
        "",
        f"`python benchmarks/training/beside_nnunet.py {options.folder} --minutes "
        f"{options.minutes:g} --fold {options.fold} --trainer {options.trainer} --nnunet-python "
        f"PYTHON --ours EVALUATION{f' --cases {options.cases}' if options.cases else ''}`",
        "",
        f"| trained | {' | '.join(labels)} | mean | lowest |",
        "|---|" + "---|" * (len(labels) + 2),
    ]
    for name, dice in rows.items():
        means = [statistics.fmean(dice[label]) for label in labels]
        lowest = min(min(dice[label]) for label in labels)
        cells = [*(f"{one:.4f}" for one in means), f"{statistics.fmean(means):.4f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {lowest:.3f} |")
    lines += [
        "",
        f"nnU-Net's defaults ({options.trainer}, 3d_fullres: {found['parameters_m']:.1f} M "
        f"parameters, batches of {found['batch']} windows of {patch} voxels): "
        f"{found['iterations']:,} iterations in {found['seconds'] / 60:.1f} min on "
        f"{found['threads']} threads, besides {found['prepared_s']:.0f} s of planning and "
        f"preprocessing and {found['validation_s']:.0f} s of segmenting the "
        f"{len(next(iter(theirs.values())))} held-out cases, with its mirroring. Dice in the "
        "label files' own grids, by `gridgate evaluate`'s measures for both.",
        "",
        *(f"- {name}: {value}" for name, value in machine_facts()),
    ]
    page = options.results / f"nnunet_{dataset}.md"
    page.write_text("\n".join(lines) + "\n")
    print(page.read_text())


if __name__ == "__main__":
    sys.exit(main())
