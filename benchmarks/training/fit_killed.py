"""A fit that is killed at random moments, against the same one that nobody stops: same weights?

    python benchmarks/training/fit_killed.py ../shared/data/msd_hippocampus --time 20m --kills 3

Plans once; then `gridgate fit --deterministic` trains by that plan in two folders. The second one
is sent SIGKILL at moments drawn evenly from the time that the first took, and started again with
the same command each time. Compares the weights of both bundles bit by bit, and the tables of
their cross-validations. Settings after the options (--folds 3) go to both fits. Writes
results/fit_killed_<dataset folder>.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

from gridgate.pipeline.models.checkpoints import load_checkpoint

HERE = Path(__file__).resolve().parent
TABLE = Path("cross_validation") / "metrics.csv"


def main() -> int:
    """Entry point.

    Returns:
        1 where the weights or the tables differ.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("--time", default="20m", help="of each fit")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--work", type=Path, default=Path("fit_killed"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options, options.settings = parser.parse_known_args()
    plan = options.work / "plan"
    if not plan.exists():
        gridgate("plan", options.folder, "--to", str(plan), "--time", options.time)
    straight, killed = (options.work / name for name in ("straight", "killed"))
    asked = ["--plans", str(plan), "--time", options.time, "--deterministic", *options.settings]
    began = time.monotonic()
    gridgate("fit", options.folder, str(straight), *asked)
    took = time.monotonic() - began
    draw = random.Random(options.seed)
    moments = sorted(draw.uniform(0, took) for _ in range(options.kills))
    for after in [second - first for first, second in zip([0.0, *moments], moments, strict=False)]:
        gridgate("fit", options.folder, str(killed), *asked, kill_after=after)
    gridgate("fit", options.folder, str(killed), *asked)
    same = {
        "weights": same_weights(straight, killed),
        str(TABLE): (straight / TABLE).read_bytes() == (killed / TABLE).read_bytes(),
    }
    write_page(options, took, moments, same)
    return 0 if all(same.values()) else 1


def gridgate(*words: str, kill_after: float | None = None) -> None:
    """Run the command, to its end or until it is killed with its processes."""
    print(shlex.join(["gridgate", *words]), flush=True)
    command = [sys.executable, "-m", "gridgate", *words]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        print(f"killed after {kill_after:.0f} s", flush=True)
        return
    if process.returncode:
        raise SystemExit(f"gridgate {words[0]} ended with {process.returncode}")


def same_weights(one: Path, other: Path) -> bool:
    """Whether two bundles have the same tensors, bit by bit."""
    first, second = load_checkpoint(one), load_checkpoint(other)
    return first.keys() == second.keys() and all(
        tensor.dtype == second[name].dtype
        and tensor.numpy().tobytes() == second[name].numpy().tobytes()
        for name, tensor in first.items()
    )


def write_page(
    options: argparse.Namespace, took: float, moments: list[float], same: dict[str, bool]
) -> None:
    """The outcome, in results/."""
    dataset = Path(options.folder).resolve().name
    lines = [
        f"# A fit killed at random moments: {dataset}",
        "",
        f"`python benchmarks/training/fit_killed.py {shlex.join(sys.argv[1:])}`",
        "",
        f"Without a stop it took {took / 60:.1f} min. The other one was sent SIGKILL "
        f"{', '.join(f'{one / 60:.1f}' for one in moments)} min after it began (time in which it "
        "ran), and started again with the same command.",
        "",
        *[
            f"- {name}: {'the same, bit by bit' if equal else 'differ'}"
            for name, equal in same.items()
        ],
        "",
        f"{len(os.sched_getaffinity(0))} cores, {time.strftime('%Y-%m-%d')}.",
        "",
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"fit_killed_{dataset}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
