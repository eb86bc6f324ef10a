"""What each setting of a training brings at equal time: one variant per row, several seeds each.

    python benchmarks/training/ablation.py BUNDLE ../shared/data/msd_hippocampus --iterations 1500
    --side_by_side 2

Each variant trains BUNDLE on one fold with one thing changed. A variant whose step costs more (a
network, a window, a batch) gets fewer iterations, by the seconds of a step, measured in turns with
those of the bundle. So a machine that is busy with other things changes no result. Each training is
evaluated in the label files' own grids. "A + B" is both at once. What is finished in the work
folder is kept: the same command goes on where it was stopped. Writes
results/ablation_<dataset folder>.md.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
EPOCHS = 15
TURNS = 3
LONGER = "twice as long"
NETWORKS = {
    "attention_unet, 16 channels each": (
        "{name: attention_unet, variant: ct_single, filters: [16, 16, 16, 16, 16], norm: instance}"
    ),
    "attention_unet, 6 to 96 channels": (
        "{name: attention_unet, variant: ct_single, filters: [6, 12, 24, 48, 96], norm: instance}"
    ),
    "attention_unet, 8 to 256 channels": (
        "{name: attention_unet, variant: ct_single, filters: [8, 16, 48, 128, 256], norm: instance}"
    ),
    "attention_unet, 16 to 256 channels": (
        "{name: attention_unet, variant: ct_single, feature_scale: 4, norm: instance}"
    ),
    "attention_unet, 12 to 192 channels": (
        "{name: attention_unet, variant: ct_single, filters: [12, 24, 48, 96, 192], norm: instance}"
    ),
    "unet": "{name: unet, feature_scale: 8, norm: instance}",
    "uctransnet": "{name: uctransnet, width: 8, norm: instance}",
    "unet_plus_plus": "{name: unet_plus_plus, form: later, filters: [8, 16, 32, 64, 128]}",
    "transunet": "{name: transunet, stem_width: 16, units: [2, 2, 3], groups: 8, hidden_size: 96, "
    "num_layers: 4, num_heads: 3, mlp_dim: 192, decoder_widths: [64, 32, 16, 16, 8]}",
    "DynUNet": "{name: DynUNet, kernel_size: [3, 3, 3, 3, 3], filters: [8, 16, 32, 64, 128]}",
    "DynUNet, deep supervision": (
        "{name: DynUNet, kernel_size: [3, 3, 3, 3, 3], filters: [8, 16, 32, 64, 128], "
        "deep_supervision: true, deep_supr_num: 2}"
    ),
    "DynUNet, residual": (
        "{name: DynUNet, kernel_size: [3, 3, 3, 3, 3], filters: [8, 16, 32, 64, 128], "
        "res_block: true}"
    ),
    "DynUNet, 8 to 256 channels": (
        "{name: DynUNet, kernel_size: [3, 3, 3, 3, 3], filters: [8, 24, 64, 128, 256]}"
    ),
    "SegResNet": "{name: SegResNet, init_filters: 8}",
    "UNet": "{name: UNet, channels: [16, 32, 64, 128, 256], norm: instance}",
}
VARIANTS: dict[str, list[str]] = {
    "as planned": [],
    "Dice of each case": ["--train::loss::batch", "False"],
    "Dice with the background": ["--train::loss::name", "dice_ce"],
    "Dice alone": ["--train::loss::name", "sorensen_dice"],
    "learning rate 0.001": ["--learning_rate", "0.001"],
    "learning rate 0.006": ["--learning_rate", "0.006"],
    "learning rate 0.01": ["--learning_rate", "0.01"],
    "learning rate 0.002": ["--learning_rate", "0.002"],
    "no weight decay": ["--weight_decay", "0"],
    "no average of the weights": ["--average_decay", "0"],
    "average over twice as long": ["--average_decay", LONGER],
    "no augmentation of intensities": ["--augmentation::intensity", "False"],
    "no rotation, no scaling": [
        *("--augmentation::rotation_probability", "0"),
        *("--augmentation::scale_probability", "0"),
    ],
    "neither": [
        *("--augmentation::rotation_probability", "0"),
        *("--augmentation::scale_probability", "0"),
        *("--augmentation::intensity", "False"),
    ],
    "twice as many rotations and scalings": [
        *("--augmentation::rotation_probability", "0.6"),
        *("--augmentation::scale_probability", "0.6"),
    ],
    "half as many rotations and scalings": [
        *("--augmentation::rotation_probability", "0.15"),
        *("--augmentation::scale_probability", "0.15"),
    ],
    "windows mirrored from left to right": ["--mirror_axes", "[0]"],
    "a third of the windows centred on labels": ["--augmentation::foreground", "0.33"],
    "all windows centred on labels": ["--augmentation::foreground", "1.0"],
    "batch of 4": ["--batch_size", "4"],
    "batch of 2": ["--batch_size", "2"],
    "windows of 64 x 32 x 80": ["--roi_size", "[64, 32, 80]"],
    "windows of 64 x 48 x 48": ["--roi_size", "[64, 48, 48]"],
    **{name: ["--architecture", words] for name, words in NETWORKS.items()},
}


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        variant: of VARIANTS.
        seed: of weights and draws.
        iterations: with which it takes as long as the others.
    """

    variant: str
    seed: int
    iterations: int


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="of `gridgate plan`")
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), help='of VARIANTS; or several, "A + B"'
    )
    parser.add_argument("--iterations", type=int, default=1500, help="of the bundle as planned")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--side_by_side", type=int, default=1, help="trainings, of a thread each")
    parser.add_argument("--work", type=Path, default=Path("ablation"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    if options.side_by_side > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    unknown = {part for name in options.variants for part in name.split(" + ")} - VARIANTS.keys()
    if unknown:
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are {list(VARIANTS)}")
    options.work.mkdir(parents=True, exist_ok=True)
    costs = {name: cost_of(name, options) for name in options.variants}
    runs = [
        Run(name, seed, round(options.iterations / costs[name]))
        for seed in options.seeds
        for name in options.variants
    ]
    found: dict[str, list[dict[str, float]]] = {}
    with ThreadPoolExecutor(options.side_by_side) as pool:
        for run, dice in zip(runs, pool.map(lambda one: measured(one, options), runs), strict=True):
            found.setdefault(run.variant, []).append(dice)
            write_page(found, costs, options)
    return 0


def cost_of(variant: str, options: argparse.Namespace) -> float:
    """Seconds of a step in those of the bundle's own; 1 where nothing changes them."""
    plan = read_plan(options.bundle)
    changed = changed_by(variant, plan["roi_size"])
    if not {"--architecture", "--batch_size", "--roi_size"} & set(changed):
        return 1.0
    kept = options.work / "costs.json"
    costs = dict(json.loads(kept.read_text())) if kept.exists() else {}
    if variant not in costs:
        own = step_words(plan, {})
        other = step_words(plan, changed)
        seconds = [(step_seconds(own), step_seconds(other)) for _ in range(TURNS)]
        costs[variant] = statistics.median(theirs / ours for ours, theirs in seconds)
        kept.write_text(json.dumps(costs))
    return float(costs[variant])


def read_plan(bundle: str) -> dict[str, Any]:
    """The plan of a bundle."""
    metadata = json.loads((Path(bundle) / "configs" / "metadata.json").read_text())
    return dict(metadata["plan"])


def network_of(words: str, window: list[int]) -> str:
    """A network's settings with the window's size, where it must know it."""
    from gridgate.networks import network_options

    network = dict(yaml.safe_load(words))
    if "img_size" in network_options(network["name"]):
        network["img_size"] = window
    return json.dumps(network)


def step_words(plan: dict[str, Any], changed: dict[str, str]) -> dict[str, Any]:
    """What is to be measured: a network with windows in a batch."""
    network = (
        dict(yaml.safe_load(changed["--architecture"]))
        if changed.get("--architecture")
        else dict(plan["network"])
    )
    return {
        "name": network.pop("name"),
        "options": network,
        "channels": plan["channels"],
        "outputs": len(plan["labels"]) - (plan["region_values"] is not None),
        "window": yaml.safe_load(changed.get("--roi_size", "null")) or plan["roi_size"],
        "batch": int(changed.get("--batch_size", plan["training"]["batch_size"])),
    }


def step_seconds(words: dict[str, Any]) -> float:
    """Of a training step on this machine, as `gridgate plan` measures it."""
    from gridgate.pipeline.planning.measures.machine import planned_machine
    from gridgate.pipeline.planning.measures.trial import Candidate

    candidate = Candidate(words["name"], words["options"], words["channels"], words["outputs"])
    step = candidate.try_step(words["window"], words["batch"], planned_machine("auto"))
    if isinstance(step, str):
        raise RuntimeError(f"{words['name']}: {step}")
    return step.seconds


def measured(run: Run, options: argparse.Namespace) -> dict[str, float]:
    """Train and evaluate; label -> mean Dice."""
    work = options.work / run.variant.replace(" ", "_").replace(",", "") / f"seed_{run.seed}"
    asked = {"iterations": run.iterations, "words": settings_of(run.variant), "fold": options.fold}
    done = work / "done.json"
    kept = json.loads(done.read_text()) if done.exists() else {}
    if kept.get("asked") != asked:
        shutil.rmtree(work, ignore_errors=True)
        fold = ["--fold", str(options.fold)]
        gridgate(
            "train",
            options.bundle,
            options.folder,
            str(work / "training"),
            *fold,
            *words_of(run, read_plan(options.bundle)["roi_size"]),
        )
        gridgate(
            "evaluate", str(work / "training"), options.folder, str(work / "evaluation"), *fold
        )
        with open(work / "evaluation" / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        labels = dict.fromkeys(row["label"] for row in rows)
        dice = {
            label: statistics.fmean(
                float(row["dice"]) for row in rows if row["label"] == label and row["dice"]
            )
            for label in labels
        }
        kept = {"asked": asked, "dice": dice}
        done.write_text(json.dumps(kept))
    return dict(kept["dice"])


def words_of(run: Run, window: list[int]) -> list[str]:
    """The training's settings: those that follow from its iterations, then the variant's own."""
    settings = {
        "--epochs": EPOCHS,
        "--iterations_per_epoch": max(1, run.iterations // EPOCHS),
        "--val_interval": EPOCHS,  # once, at the end
        "--seed": run.seed,
        "--warmup_iterations": run.iterations // 40,
        "--average_decay": f"{1 - 10 / run.iterations:.5f}",
        **changed_by(run.variant, window),
    }
    if settings["--average_decay"] == LONGER:
        settings["--average_decay"] = f"{1 - 5 / run.iterations:.5f}"
    return [str(word) for pair in settings.items() for word in pair]


def settings_of(variant: str) -> list[str]:
    """The words of a variant, or of several that are put together."""
    return [word for part in variant.split(" + ") for word in VARIANTS[part]]


def changed_by(variant: str, window: list[int]) -> dict[str, str]:
    """A variant's settings."""
    words = settings_of(variant)
    changed = dict(zip(words[::2], words[1::2], strict=True))
    if "--architecture" in changed:
        changed["--architecture"] = network_of(changed["--architecture"], window)
    return changed


def gridgate(*words: str) -> None:
    """Run the command."""
    print(shlex.join(["gridgate", *words]), flush=True)
    subprocess.run([sys.executable, "-m", "gridgate", *words, "--quiet"], check=True)


def write_page(
    found: dict[str, list[dict[str, float]]], costs: dict[str, float], options: argparse.Namespace
) -> None:
    """The table of what has been measured so far."""
    dataset = Path(options.folder).resolve().name
    labels = list(found[options.variants[0]][0])
    base = mean_of(found[options.variants[0]])
    lines = [
        f"# What settings bring at equal time: {dataset}",
        "",
        f"`python benchmarks/training/ablation.py BUNDLE DATASET --iterations {options.iterations} "
        f"--seeds {' '.join(map(str, options.seeds))} --fold {options.fold}`",
        "",
        "| variant | iterations | "
        + " | ".join(labels)
        + " | mean | of each seed | against the plan |",
        "|---|" + "---|" * (len(labels) + 4),
    ]
    for name, seeds in found.items():
        cells = [name, f"{round(options.iterations / costs[name]):,}"]
        cells += [f"{statistics.fmean(one[label] for one in seeds):.4f}" for label in labels]
        each = [statistics.fmean(one.values()) for one in seeds]
        cells += [f"{mean_of(seeds):.4f}", ", ".join(f"{one:.4f}" for one in each)]
        cells += [f"{mean_of(seeds) - base:+.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    page = options.results / f"ablation_{dataset}.md"
    page.write_text("\n".join(lines) + "\n")


def mean_of(seeds: list[dict[str, float]]) -> float:
    """The mean Dice over labels and seeds."""
    return statistics.fmean(statistics.fmean(one.values()) for one in seeds)


if __name__ == "__main__":
    sys.exit(main())
