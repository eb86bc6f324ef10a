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
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measured_process import run_measured  # noqa: E402

ROIS = ((64, 48, 48), (96, 96, 96))
FORMATS = {
    "blosc2": [
        ("LZ4", 5, "SHUFFLE", 64, 16),
        ("LZ4", 5, "SHUFFLE", 64, 32),
        ("LZ4", 5, "SHUFFLE", 128, 32),
        ("LZ4", 5, "BITSHUFFLE", 64, 16),
        ("BLOSCLZ", 5, "SHUFFLE", 64, 16),
        ("ZSTD", 1, "SHUFFLE", 64, 16),
        ("ZSTD", 1, "SHUFFLE", 96, 24),
        ("ZSTD", 5, "SHUFFLE", 64, 16),
    ],
    "zarr": [
        ("lz4", 5, "shuffle", 64, None),
        ("zstd", 1, "shuffle", 64, None),
        ("zstd", 1, "shuffle", 64, "one file"),
        ("zstd", 1, "shuffle", 32, "one file"),
    ],
}


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
    from gridgate.pipeline.costs.machine import machine_facts

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


# -- formats


def measured_formats(path: Path) -> Iterator[dict[str, Any]]:
    """A row per format of a case: size, seconds to write, milliseconds to read windows."""
    case = np.load(path)
    image = np.asarray(case["image"], np.float32)
    label = np.asarray(case["label"], np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for what, array in (("image", image), ("label", label)):
            for library, ways in FORMATS.items():
                for way in ways if what == "image" else ways[:1]:
                    write, read = WAYS[library]
                    row = one_format(array, Path(folder) / "array", way, write, read)
                    name = f"{path.stem} {what} {'x'.join(map(str, array.shape[1:]))}"
                    yield {"case": name, "library": library, "way": told(way), **row}


def told(way: tuple[Any, ...]) -> str:
    """A way of storing in words."""
    codec, level, shuffle, chunk, block = way
    inside = f", {block}^3 blocks" if isinstance(block, int) else f", {block}" if block else ""
    return f"{codec.lower()} {level}, {shuffle.lower()}, {chunk}^3 chunks{inside}"


def one_format(
    array: NDArray[Any],
    path: Path,
    way: tuple[Any, ...],
    write: Callable[..., None],
    read: Callable[[Path], Any],
) -> dict[str, Any]:
    """Write, read and compare; each read opens the file anew, as a worker does."""
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    began = time.perf_counter()
    write(array, path, way)
    row = {"MB": f"{size_of(path) / 1e6:.2f}", "write s": f"{time.perf_counter() - began:.2f}"}
    for roi in ROIS:
        boxes = random_boxes(array.shape, roi, 24)
        cold, warm = [], []
        for box in boxes[:8]:
            forget(path)
            began = time.perf_counter()
            found = read(path)[box]
            cold.append(time.perf_counter() - began)
            bits = f"u{array.dtype.itemsize}"
            assert np.array_equal(found.view(bits), np.ascontiguousarray(array[box]).view(bits))
        for box in boxes * 2:
            began = time.perf_counter()
            read(path)[box]
            warm.append(time.perf_counter() - began)
        name = "x".join(map(str, roi))
        row[f"{name} cold ms"] = f"{min(cold) * 1e3:.1f}"
        row[f"{name} ms"] = f"{min(warm) * 1e3:.1f}"
    began = time.perf_counter()
    read(path)[...]
    return {**row, "whole s": f"{time.perf_counter() - began:.2f}"}


def random_boxes(shape: tuple[int, ...], roi: tuple[int, ...], count: int) -> list[Any]:
    """Boxes of windows, cut off where the volume is smaller."""
    draw = np.random.default_rng(0)
    boxes = []
    for _ in range(count):
        starts = [
            int(draw.integers(max(n - k, 0) + 1)) for n, k in zip(shape[1:], roi, strict=True)
        ]
        inside = [slice(a, min(a + k, n)) for a, k, n in zip(starts, roi, shape[1:], strict=True)]
        boxes.append((slice(None), *inside))
    return boxes


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(one.stat().st_size for one in files_of(path))


def files_of(path: Path) -> list[Path]:
    """A file, or the files of a folder."""
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]


def forget(path: Path) -> None:
    """Have the system drop what it holds of the files in memory."""
    for one in files_of(path):
        with open(one, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def within(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A cube's shape, with one channel, no larger than an array."""
    return (1, *(min(size, n) for n in shape[1:]))


def write_blosc2(array: NDArray[Any], path: Path, way: tuple[Any, ...]) -> None:
    """One file."""
    import blosc2

    codec, level, shuffle, chunk, block = way
    chunks = within(chunk, array.shape)
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(path),
        mode="w",
        chunks=chunks,
        blocks=within(block, chunks),
        cparams={
            "codec": getattr(blosc2.Codec, codec),
            "clevel": level,
            "filters": [getattr(blosc2.Filter, shuffle)],
            "nthreads": 1,
        },
    )


def read_blosc2(path: Path) -> Any:
    """Opened."""
    import blosc2

    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


def write_zarr(array: NDArray[Any], path: Path, way: tuple[Any, ...]) -> None:
    """A folder: a file per chunk, or one shard."""
    import zarr
    from numcodecs import blosc
    from zarr.codecs import BloscCodec

    blosc.use_threads = False
    codec, level, shuffle, chunk, sharded = way
    chunks = within(chunk, array.shape)
    shards = tuple(-(-n // k) * k for n, k in zip(array.shape, chunks, strict=True))
    held = zarr.create_array(
        str(path),
        shape=array.shape,
        chunks=chunks,
        shards=shards if sharded else None,
        dtype=array.dtype,
        compressors=BloscCodec(cname=codec, clevel=level, shuffle=shuffle),
    )
    held[...] = array


def read_zarr(path: Path) -> Any:
    """Opened."""
    import zarr

    return zarr.open_array(str(path), mode="r")


WAYS: dict[str, tuple[Callable[..., None], Callable[[Path], Any]]] = {
    "blosc2": (write_blosc2, read_blosc2),
    "zarr": (write_zarr, read_zarr),
}


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

    from gridgate.transforms.window import RandomWindowd

    torch.set_num_threads(1)  # as in a worker
    run = bundle_run(bundle, {**words, "output_dir": f"{work}/windows"})
    windows = run.parser.get_parsed_content("train::dataset")
    began = time.perf_counter()
    windows.load()
    row = {"start s": f"{time.perf_counter() - began:.1f}"}
    for name, only_cut in (("CPU ms a window", False), ("of which cut", True)):
        if only_cut:
            first = windows.augmentation.transforms[0]
            assert isinstance(first, RandomWindowd)
            windows.augmentation.transforms = [first]
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
