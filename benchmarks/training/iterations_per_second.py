"""Iterations of training per second of two versions of Gridgate, in one run, by turns.

    git worktree add --detach /tmp/before e83e3f6
    python benchmarks/training/iterations_per_second.py ../shared/data/msd_hippocampus
    --before /tmp/before --minutes 3 --rounds 2

Each version makes a bundle of its own with `gridgate new-bundle`, and trains it on fold 0 with the
same settings, in a process of its own. What is counted is what `gridgate train` says of its
progress in a log, from the first such line to the last: beginning and validation are outside.
Settings after the options (--batch_size 2) go to both trainings. Writes
results/iterations_<dataset folder>.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRESS = re.compile(r"training: (\d+) of \d+ iterations in (?:(\d+):)?(\d+):(\d+)")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the older one")
    parser.add_argument("--network", default="attention_unet")
    parser.add_argument("--data", help="a dataset that new-bundle knows; decided by the folder")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each training")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("iterations"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options, options.settings = parser.parse_known_args()
    versions = {"before": options.before.resolve(), "now": ROOT}
    rates: dict[str, list[float]] = {name: [] for name in versions}
    for number in range(options.rounds):
        for name, code in versions.items():
            rates[name].append(rate(options, code, f"{name}_{number}"))
            print(f"{name}: {rates[name][-1]:.3f} iterations/s", flush=True)
    write_page(options, versions, rates)
    return 0


def rate(options: argparse.Namespace, code: Path, name: str) -> float:
    """Iterations per second of a training, which is stopped when its time is over."""
    options.work.mkdir(parents=True, exist_ok=True)
    bundle, output = options.work / f"{name}_bundle", options.work / f"{name}_training"
    data = options.data or Path(options.folder).resolve().name
    environment = os.environ | {"PYTHONPATH": str(code)}
    gridgate = [sys.executable, "-m", "gridgate"]
    making = [*gridgate, "new-bundle", options.network, data, "--to", str(bundle)]
    subprocess.run(making, env=environment, check=True, stdout=subprocess.DEVNULL)
    command = [*gridgate, "train", str(bundle), options.folder, str(output), *options.settings]
    log = options.work / f"{name}.log"
    with open(log, "w") as file:
        training = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            training.wait(60 * options.minutes)
        except subprocess.TimeoutExpired:
            training.kill()
            training.wait()
    return told_rate(log.read_text())


def told_rate(log: str) -> float:
    """Iterations per second between the first and the last line of progress.

    Raises:
        SystemExit: there are fewer than two such lines.
    """
    seen = []
    for count, hours, minutes, seconds in PROGRESS.findall(log):
        seen.append((int(count), 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)))
    if len(seen) < 2:
        raise SystemExit(f"the training said too little; give more --minutes:\n{log[-2000:]}")
    return (seen[-1][0] - seen[0][0]) / (seen[-1][1] - seen[0][1])


def revision(code: Path) -> str:
    """The commit of a checkout, with its date."""
    command = ["git", "-C", str(code), "log", "-1", "--format=%h of %as"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write_page(
    options: argparse.Namespace, versions: dict[str, Path], rates: dict[str, list[float]]
) -> None:
    """The table, in results/."""
    dataset = Path(options.folder).resolve().name
    before = statistics.mean(rates["before"])
    lines = [
        f"# Iterations of training per second: {dataset}",
        "",
        f"`python benchmarks/training/iterations_per_second.py {shlex.join(sys.argv[1:])}`",
        "",
        "| version | iterations/s of each round | mean | against before |",
        "|---|---|---|---|",
    ]
    for name, code in versions.items():
        each = ", ".join(f"{one:.3f}" for one in rates[name])
        mean = statistics.mean(rates[name])
        lines.append(
            f"| {name} ({revision(code)}) | {each} | {mean:.3f} | {mean / before:.2f} times |"
        )
    lines += [
        "",
        f"Bundle: `gridgate new-bundle {options.network} {options.data or dataset}`, fold 0. "
        f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}; by turns, "
        f"{time.strftime('%Y-%m-%d')}.",
        "",
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"iterations_{dataset}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
