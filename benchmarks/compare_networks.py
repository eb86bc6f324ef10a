"""Networks trained for the same time on one dataset, and measured on the same fold.

    python benchmarks/compare_networks.py ../shared/data/msd_hippocampus --minutes 15
    python benchmarks/compare_networks.py ../shared/data/openkbp_head_neck --side_by_side 2
    --networks attention_unet SegResNet --roi_size "[64, 48, 48]"

Each network gets a bundle by `gridgate plan`, which measures how many iterations fit into the time,
a training and an evaluation. Any setting of `gridgate plan` can be given, for all networks. One
after the other, or several side by side with a share of the cores each, with the commands that a
user types. What is finished in the work folder is kept: the same command goes on where it was
stopped. Writes results/networks_<dataset folder>.md and .csv.
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
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NETWORKS = ("attention_unet", "unet_plus_plus", "uctransnet", "transfuse", "transunet")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument(
        "--minutes", type=float, default=15, help="of training each, validations included"
    )
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument(
        "--side_by_side", type=int, default=1, help="how many at once, with a share of the cores"
    )
    parser.add_argument("--work", type=Path, default=Path("compare_networks"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options, options.settings = parser.parse_known_args()
    options.dataset = Path(options.folder).resolve().name
    if options.side_by_side > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.side_by_side))
    rows = []
    with ThreadPoolExecutor(options.side_by_side) as pool:
        for row in pool.map(lambda network: row_of(network, options), options.networks):
            rows.append(row)
            write(rows, options)
    print((options.results / f"networks_{options.dataset}.md").read_text())
    return 0


def row_of(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured of a network before, where the same was asked; else it is measured."""
    names = ("dataset", "size", "minutes", "fold", "side_by_side", "settings")
    asked = {name: getattr(options, name) for name in names}
    done = options.work / network / "row.json"
    row = dict(json.loads(done.read_text())) if done.exists() else {}
    if row.get("asked") != asked:
        row = measure(network, options, asked)
        done.write_text(json.dumps(row))
    return row


def measure(network: str, options: argparse.Namespace, asked: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate one network; everything that the table says of it."""
    work = options.work / network
    finished = work / "trained.json"
    trained = json.loads(finished.read_text()) if finished.exists() else {}
    if trained.get("asked") != asked:
        trained = {**train(network, options), "asked": asked}
        finished.write_text(json.dumps(trained))
    shutil.rmtree(work / "evaluation", ignore_errors=True)
    training = work / "training"
    words = ["evaluate", str(training), options.folder, str(work / "evaluation")]
    words += ["--fold", str(options.fold)]
    gridgate(*words)
    cases = table(work / "evaluation" / "cases.csv")
    plan = json.loads((training / "configs" / "metadata.json").read_text())["plan"]
    return {
        **trained,
        "network": network,
        "options": plan["network"],
        "window": plan["roi_size"],
        "parameters": parameters(training),
        "labels": scores(work / "evaluation" / "metrics.csv"),
        "cases": len(cases),
        "case_s": statistics.mean(float(row["total_s"]) for row in cases),
        "commands": [*trained["commands"], shlex.join(["gridgate", *words])],
    }


def train(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Plan a network's bundle for the time that was asked for, and train it."""
    work = options.work / network
    shutil.rmtree(work, ignore_errors=True)
    bundle = str(work / "bundle")
    plan = ["plan", options.folder, "--to", bundle, "--network", network, "--size", options.size]
    plan += ["--time", f"{options.minutes:g}m", *options.settings]
    words = ["train", bundle, options.folder, str(work / "training"), "--fold", str(options.fold)]
    gridgate(*plan)
    gridgate(*words)
    last = table(work / "training" / "metrics_train.csv")[-1]
    return {
        "iterations": int(last["iteration"]),
        "training_min": float(last["seconds"]) / 60,
        "commands": [shlex.join(["gridgate", *plan]), shlex.join(["gridgate", *words])],
    }


def gridgate(*words: str) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "gridgate", *words], check=True)


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def scores(path: Path) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over the cases, a label."""
    result: dict[str, dict[str, Any]] = {}
    rows = table(path)
    for label in dict.fromkeys(row["label"] for row in rows):
        dice = [float(row["dice"]) for row in rows if row["label"] == label and row["dice"]]
        far = [float(row["hd95_mm"]) for row in rows if row["label"] == label and row["hd95_mm"]]
        result[label] = {
            "dice": statistics.mean(dice),
            "dice_sd": statistics.stdev(dice) if len(dice) > 1 else 0.0,
            "hd95_mm": statistics.mean(far) if far else None,
            "without_hd95": len(dice) - len(far),  # one of the two masks has nothing of this label
        }
    return result


def far(value: dict[str, Any]) -> str:
    """HD95, with the number of cases that have none."""
    shown = "-" if value["hd95_mm"] is None else f"{value['hd95_mm']:.2f}"
    return f"{shown} (without {value['without_hd95']})" if value["without_hd95"] else shown


def parameters(bundle: Path) -> int:
    """Of the bundle's network."""
    code = (
        "import json, sys; from gridgate.networks import build; m = json.load(open(sys.argv[1])); "
        "n = build(**m['plan']['network'], "
        "out_channels=m['network_data_format']['outputs']['pred']['num_channels']); "
        "print(sum(p.numel() for p in n.parameters()))"
    )
    words = [sys.executable, "-c", code, str(bundle / "configs" / "metadata.json")]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The page and the CSV."""
    lines = [
        f"# Networks on {options.dataset}, fold {options.fold}: {options.minutes:g} minutes of "
        "training each",
        "",
        f"`python benchmarks/compare_networks.py DATASET --minutes {options.minutes:g} "
        f"--size {options.size} --fold {options.fold} --side_by_side {options.side_by_side} "
        f"--networks {shlex.join([*options.networks, *options.settings])}`",
        "",
        *(f"- {name}: {value}" for name, value in facts()),
        "",
        *markdown(rows),
        "",
        f"{rows[0]['cases']} cases were measured, in the label files' own grids. One run of one "
        "fold each: small differences say nothing. Options of the networks:",
        "",
    ]
    for row in rows:
        chosen = ", ".join(
            f"{key} {value}" for key, value in row["options"].items() if key != "name"
        )
        lines.append(f"- {row['network']}: {chosen or 'none'}")
    commands = (command for row in rows for command in row["commands"])
    short = {str(options.work): "WORK", options.folder: "DATASET"}
    lines += ["", "```", *(shortened(command, short) for command in commands), "```", ""]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"networks_{options.dataset}.md").write_text("\n".join(lines))
    write_csv(options.results / f"networks_{options.dataset}.csv", rows)


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """The page's table, in Markdown."""
    labels = list(rows[0]["labels"])
    head = ["network", "parameters", "window", "iterations", "training, min"]
    head += [f"Dice {label} (SD)" for label in labels]
    head += ["mean Dice", *(f"HD95 {label}, mm" for label in labels), "s per case"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        found = row["labels"]
        window = " x ".join(map(str, row["window"]))
        cells = [row["network"], f"{row['parameters']:,}", window, f"{row['iterations']:,}"]
        cells += [f"{row['training_min']:.1f}"]
        cells += [f"{found[label]['dice']:.3f} ({found[label]['dice_sd']:.3f})" for label in labels]
        cells += [f"{statistics.mean(found[label]['dice'] for label in labels):.3f}"]
        cells += [far(found[label]) for label in labels]
        cells += [f"{row['case_s']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """A row per network and label."""
    columns = ["network", "parameters", "iterations", "training_min", "label"]
    columns += ["dice", "dice_sd", "hd95_mm", "case_s"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            for label, value in row["labels"].items():
                shown = [row["network"], row["parameters"], row["iterations"]]
                shown += [round(row["training_min"], 2), label, round(value["dice"], 4)]
                shown += [round(value["dice_sd"], 4), value["hd95_mm"]]
                writer.writerow([*shown, round(row["case_s"], 3)])


def shortened(text: str, names: dict[str, str]) -> str:
    """The same with other words for some folders."""
    for long, name in names.items():
        text = text.replace(long, name)
    return text


def facts() -> list[tuple[str, str]]:
    """The machine."""
    code = (
        "import json; from gridgate.pipeline.models.machine import machine_facts; "
        "print(json.dumps(machine_facts()))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [tuple(pair) for pair in json.loads(run.stdout)]  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(main())
