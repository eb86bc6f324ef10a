"""Partial labels: how much a training loses when labels are missing.

    python benchmarks/datasets/partial_labels.py ../shared/data/openkbp_head_neck --work WORK
    python benchmarks/datasets/partial_labels.py ../shared/data/openkbp_head_neck --work WORK
    --missing 3

Three trainings of one bundle, of the same length and seed: with all labels; with a random half of
the labels (or as many as --missing says) taken out of each case and dataset.json's "annotated"
declaring what is left; and with the same label maps undeclared, so that what is missing counts as
background. Each is measured on the fold's validation cases with all their labels. What is finished
in the work folder is kept: the same command goes on where it was stopped. Writes
results/partial_labels_<bundle>.md, with --missing 3 partial_labels_<bundle>_3_missing.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gridgate.data.datasets.dataset import Dataset, load_dataset

HERE = Path(__file__).resolve().parent
KINDS = {
    "full": "all labels",
    "declared": "{part} labels, declared",
    "background": "{part} labels, the others taken for background",
}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--bundle", default="head_neck_attention_unet")
    parser.add_argument("--epochs", type=int, default=13, help="of 55 iterations each")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of the labels that are taken out")
    parser.add_argument("--missing", type=int, help="labels taken out of each case (half of them)")
    parser.add_argument("--work", type=Path, default=Path("partial_labels"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    full = load_dataset(options.folder)
    options.suffix = "" if options.missing is None else f"_{options.missing}_missing"
    removed = removed_labels(full, options.seed, options.missing)
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        dataset = Path(options.folder)
        if kind != "full":
            dataset = options.work / f"dataset_{kind}{options.suffix}"
            write_partial(full, removed, dataset, declared=kind == "declared")
        found[kind] = measured(kind, dataset, options)
        write_page(found, full, removed, options)
    return 0


def removed_labels(dataset: Dataset, seed: int, missing: int | None) -> dict[str, list[str]]:
    """Case -> the labels taken out of it: so many, or half of them, the odd one by chance."""
    draw = random.Random(seed)
    names = [name for name, value in dataset.labels.items() if value]
    half, odd = divmod(len(names), 2)

    def count() -> int:
        return missing if missing is not None else half + (draw.randrange(2) if odd else 0)

    return {case.id: draw.sample(names, count()) for case in dataset.cases}


def write_partial(
    dataset: Dataset, removed: dict[str, list[str]], folder: Path, *, declared: bool
) -> None:
    """The dataset with labels taken out: its images as links, its label maps anew."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    training = []
    for case in dataset.cases:
        assert case.label is not None
        image, label = folder / "imagesTr" / case.images[0].name, f"labelsTr/{case.label.name}"
        if not image.is_symlink():
            image.symlink_to(case.images[0].resolve())
        if not (folder / label).exists():
            source = nib.load(case.label)
            array = np.asarray(source.dataobj).copy()
            array[np.isin(array, [dataset.labels[name] for name in removed[case.id]])] = 0
            nib.save(nib.Nifti1Image(array, source.affine, source.header), folder / label)
        training.append({"image": f"imagesTr/{image.name}", "label": label})
    content = {
        "name": f"{dataset.name}, with labels taken out",
        "channel_names": {str(i): name for i, name in enumerate(dataset.channel_names)},
        "labels": dataset.labels,
        "training": training,
    }
    if declared:
        names = [name for name, value in dataset.labels.items() if value]
        content["annotated"] = {
            case: [name for name in names if name not in gone] for case, gone in removed.items()
        }
    (folder / "dataset.json").write_text(json.dumps(content, indent=1))


def measured(kind: str, dataset: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate; label -> its Dice of each case."""
    work = options.work / (kind if kind == "full" else f"{kind}{options.suffix}")
    done = work / "done.json"
    if not done.exists():
        work.mkdir(parents=True, exist_ok=True)
        fold = ["--fold", str(options.fold)]
        words = ["train", options.bundle, str(dataset), str(work / "training"), *fold]
        words += ["--epochs", str(options.epochs), "--val_interval", str(options.epochs)]
        gridgate(*words)
        words = ["evaluate", options.bundle, options.folder, str(work / "evaluation"), *fold]
        gridgate(*words, "--checkpoint", str(work / "training"))
        dice: dict[str, list[float]] = {}
        with open(work / "evaluation" / "metrics.csv", newline="") as file:
            for row in csv.DictReader(file):
                dice.setdefault(row["label"], []).append(float(row["dice"]))
        done.write_text(json.dumps({"dice": dice}))
    return dict(json.loads(done.read_text()))


def gridgate(*words: str) -> None:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "gridgate", *words]
    print(shlex.join(["gridgate", *words]), flush=True)
    subprocess.run(command, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


def write_page(
    found: dict[str, dict[str, Any]],
    dataset: Dataset,
    removed: dict[str, list[str]],
    options: argparse.Namespace,
) -> None:
    """The page of what has been measured so far."""
    labels = [name for name, value in dataset.labels.items() if value]
    means = {
        kind: {
            name: statistics.fmean(one for one in row["dice"][name] if one == one)
            for name in labels
        }
        for kind, row in found.items()
    }
    gone = sum(len(names) for names in removed.values())
    left = (
        "half of the"
        if options.missing is None
        else f"{len(labels) - options.missing} of {len(labels)}"
    )
    asked = "" if options.missing is None else f" --missing {options.missing}"
    lines = [
        f"# Partial labels: {dataset.name}",
        "",
        f"`python benchmarks/datasets/partial_labels.py DATASET --epochs "
        f"{options.epochs}{asked}`, bundle {options.bundle}, fold {options.fold}; {gone} of "
        f"{len(labels) * len(removed)} labels were taken out (seed {options.seed}). "
        "Dice on the validation cases with all their labels, from the label files' own grids.",
        "",
        "| training | " + " | ".join(labels) + " | mean | of the full labels' |",
        "|---|" + "---|" * (len(labels) + 2),
    ]
    base = statistics.fmean(means["full"].values())
    for kind, row in means.items():
        mean = statistics.fmean(row.values())
        cells = [f"{row[name]:.3f}" for name in labels]
        cells += [f"{mean:.3f}", f"{mean / base:.3f}"]
        lines.append(f"| {KINDS[kind].format(part=left)} | " + " | ".join(cells) + " |")
    page = options.results / f"partial_labels_{options.bundle}{options.suffix}.md"
    page.write_text("\n".join(lines) + "\n")
    print(page.read_text(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
