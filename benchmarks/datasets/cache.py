"""Preprocessed cases on disk: which format, how fast windows are, and how much memory a training.

    python benchmarks/datasets/cache.py formats CASE.npz ...                 # blosc2 against zarr
    python benchmarks/datasets/cache.py windows BUNDLE DATASET        # cases in memory, on disk
    python benchmarks/datasets/cache.py memory BUNDLE DATASET [--setting NAME=VALUE ...]

Each writes its part of results/cache.md (the parts are kept in results/cache.json). `formats` takes
preprocessed cases, "image" and "label" in an .npz; zarr need not be installed in Gridgate's own
environment. `memory` trains with each case on disk and looks at the proportional set size of the
training and its workers. `--copies` stores some cases once and lays copies of them under the keys
of the others, where preprocessing all would take hours: reading them takes the same memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from cache_formats import measured_formats  # noqa: E402
from measured_process import run_measured  # noqa: E402


def main() -> None:
    """Measure one part, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    kinds = parser.add_subparsers(dest="kind", required=True)
    formats = kinds.add_parser("formats")
    formats.add_argument("cases", type=Path, nargs="+")
    for kind in ("windows", "memory"):
        one = kinds.add_parser(kind)
        one.add_argument("bundle")
        one.add_argument("dataset")
        one.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE")
        one.add_argument("--work", type=Path, help="where the cases are stored, and stay")
        one.add_argument("--iterations", type=int, default=40)
    one.add_argument("--copies", type=int, help="how many cases are preprocessed")
    options = parser.parse_args()
    if options.kind == "formats":
        title, rows = "Formats", [row for path in options.cases for row in measured_formats(path)]
    else:
        settings = dict(word.split("=", 1) for word in options.setting)
        part = measured_windows if options.kind == "windows" else measured_memory
        title, rows = part(options, settings)
    write_page(options.results, title, rows)


def write_page(results: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Put a part in the place of an earlier one of the same title."""
    from gridgate.pipeline.models.machine import machine_facts

    parts_file = results / "cache.json"
    parts = json.loads(parts_file.read_text()) if parts_file.is_file() else {}
    parts[title] = {"machine": machine_facts(), "command": " ".join(sys.argv[1:]), "rows": rows}
    parts_file.write_text(json.dumps(parts, indent=1) + "\n")
    lines = ["# Preprocessed cases on disk", ""]
    for name, part in parts.items():
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
        lines += [f"## {name}", "", f"`python benchmarks/datasets/cache.py {part['command']}`", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += [
            "| " + " | ".join(str(row.get(key, "")) for key in columns) + " |"
            for row in part["rows"]
        ]
        lines += ["", *(f"- {key}: {value}" for key, value in part["machine"]), ""]
    (results / "cache.md").write_text("\n".join(lines))
    print("\n".join(lines))


# -- windows


def measured_windows(
    options: argparse.Namespace, settings: dict[str, str]
) -> tuple[str, list[dict[str, Any]]]:
    """Milliseconds per window in one process, and seconds per iteration of a training."""
    rows = []
    with tempfile.TemporaryDirectory() as work:
        folder = options.work or Path(work)
        for where, cache_dir in (("memory", ""), ("disk", str(folder / "cache"))):
            words = {**settings, "dataset_dir": options.dataset, "num_workers": "0"}
            words |= {"cache_dir": cache_dir} if cache_dir else {}
            rows.append({"cases": where, **windows_of(options.bundle, work, words, options)})
        for where, cache_dir in (("memory", ""), ("disk", str(folder / "cache"))):
            words = {**settings, "dataset_dir": options.dataset}
            words |= {"cache_dir": cache_dir} if cache_dir else {}
            row = next(row for row in rows if row["cases"] == where)
            row["s per iteration"] = iteration_seconds(options.bundle, work, words, options)
    return f"Windows: {Path(options.bundle).name}", rows


def windows_of(
    bundle: str, work: str, words: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """How fast one process draws windows, and how fast it only cuts them."""
    import torch

    from gridgate.transforms import RandomWindowd

    torch.set_num_threads(1)  # as in a worker
    run = bundle_run(bundle, {**words, "output_dir": f"{work}/windows"})
    windows = run.parser.get_parsed_content("train::dataset")
    began = time.perf_counter()
    windows.load()
    row = {"start s": f"{time.perf_counter() - began:.1f}"}
    for name, only_cut in (("CPU ms a window", False), ("of which cut", True)):
        if only_cut:
            assert isinstance(windows.augmentation, RandomWindowd)
            windows.augmentation.intensity = False
        count = len(windows) + 100
        for key in range(2 * count):
            if key == count:
                began = time.process_time()  # so that what else runs does not count
            windows[key]
        row[name] = f"{(time.process_time() - began) / count * 1e3:.2f}"
    return row


def iteration_seconds(
    bundle: str, work: str, words: dict[str, str], options: argparse.Namespace
) -> str:
    """Of a training of one epoch, without a validation: the median with the wait for its batch."""
    from ignite.engine import Events

    out = tempfile.mkdtemp(dir=work)
    run = bundle_run(
        bundle, {**words, **one_epoch(options), "val_interval": "2", "output_dir": out}
    )
    trainer = run.parser.get_parsed_content("train::trainer")
    ended: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: ended.append(time.monotonic()))
    run.run()
    run.finalize()
    return f"{statistics.median(np.diff(ended)[len(ended) // 4 :]):.3f}"


def one_epoch(options: argparse.Namespace) -> dict[str, str]:
    """The settings of a training that is only timed."""
    return {"epochs": "1", "iterations_per_epoch": str(options.iterations), "patience": "0"}


def bundle_run(bundle: str, words: dict[str, str]) -> Any:
    """A training, begun."""
    from gridgate.pipeline.plans.bundle_folders import bundle_path
    from gridgate.pipeline.workflow import BundleRun

    run = BundleRun(bundle_path(bundle), "train.yaml", "training", words)
    run.initialize()
    return run


# -- memory


def measured_memory(
    options: argparse.Namespace, settings: dict[str, str]
) -> tuple[str, list[dict[str, Any]]]:
    """Peak memory of storing the cases, and of trainings on a quarter of them and on all."""
    work = options.work or Path(tempfile.mkdtemp())
    rows = []
    words = {**settings, "dataset_dir": options.dataset, "cache_dir": str(work / "cache")}
    if options.copies:
        first = [f"--take={options.copies}", f"--store={work / 'cache'}"]
        rows.append(process(options, words, work, f"storing {options.copies} cases", first))
    for share in (4, 1):
        rows.append(process(options, words, work, "training", [f"--share={share}"]))
        print(rows[-1], flush=True)
    return f"Memory: {Path(options.dataset).name}", rows


def process(
    options: argparse.Namespace, words: dict[str, str], work: Path, name: str, more: list[str]
) -> dict[str, Any]:
    """A row: peak memory of one process and its workers."""
    job = work / "job.json"
    out = tempfile.mkdtemp(dir=work)
    content = {
        "bundle": options.bundle,
        "words": {**words, **one_epoch(options), "output_dir": out},
    }
    job.write_text(json.dumps(content))
    done = run_measured(
        [sys.executable, str(HERE / "cache_training.py"), str(job), *more],
        log=work / "training.log",
        environment=os.environ,
        memory_limit_gb=1e9,
        time_limit_s=1e9,
    )
    told = work / "told.json"
    row: dict[str, Any] = {"what": name, **(json.loads(told.read_text()) if told.is_file() else {})}
    row |= {"peak GB (PSS, with workers)": f"{done.peak_gb:.2f}", "seconds": f"{done.seconds:.0f}"}
    return {**row, "failure": done.failure} if done.failure else row


if __name__ == "__main__":
    main()
