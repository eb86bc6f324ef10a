r"""Engines side by side: seconds of a window, memory, and what their masks lose.

    python benchmarks/compare_networks.py DATASET --minutes 4 --work trained \
        --networks UNet DynUNet attention_unet UNETR
    python benchmarks/engines/compare.py DATASET trained/*/training --isa native AVX2

Each engine runs each trained bundle in a process of its own, in float32 and bfloat16: over the
cases of the fold that the training did not see (Dice of each label, share of voxels that are
PyTorch's in float32), and, with random weights and --classes, over windows of --window voxels. For
CPUs without bfloat16 `--isa AVX2` sets ONEDNN_MAX_CPU_ISA, which PyTorch's oneDNN and OpenVINO both
read. `int8` is the first scheme of `gridgate quantise`, from --calibration windows of cases that
the training saw. Writes results/engines_<dataset folder>.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measured_process import run_measured  # noqa: E402

FORMATS = {
    "torch": ("float32", "bfloat16"),
    "openvino": ("float32", "bfloat16", "int8"),
    "onnxruntime": ("float32",),
    "compile": ("float32", "bfloat16"),
}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="with dataset.json, imagesTr and labelsTr")
    parser.add_argument("bundles", nargs="+", type=Path, help="trained on a fold of it")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--cases", type=int, default=20, help="of the fold, at the most")
    parser.add_argument("--engines", nargs="+", choices=list(FORMATS), default=list(FORMATS)[:3])
    parser.add_argument("--isa", nargs="+", default=["native"], help="native, AVX2")
    parser.add_argument("--window", type=int, default=96, help="voxels along each axis")
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calibration", type=int, default=32, help="windows")
    parser.add_argument("--work", type=Path, default=Path("engines"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    rows = []
    for bundle in options.bundles:
        for isa in options.isa:
            for engine in options.engines:
                for form in FORMATS[engine]:
                    if form != "bfloat16" or isa == "native":
                        rows.append(measure(options, bundle, isa, engine, form))
                        write_page(options, rows)
    return 0


def measure(
    options: argparse.Namespace, bundle: Path, isa: str, engine: str, form: str
) -> dict[str, Any]:
    """One engine on one bundle, in a process of its own."""
    name = f"{bundle.resolve().parent.name}_{isa}_{engine}_{form}"
    job = {
        "bundle": str(bundle.resolve()),
        "folder": str(Path(options.folder).resolve()),
        "engine": engine,
        "format": form,
        "reference": str(options.work.resolve() / f"{bundle.resolve().parent.name}_masks"),
        "result": str(options.work.resolve() / f"{name}.json"),
        **{
            key: getattr(options, key)
            for key in ("fold", "cases", "window", "classes", "rounds", "calibration")
        },
    }
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / f"{name}.job.json"
    file.write_text(json.dumps(job))
    environment = {**os.environ, "GRIDGATE_CACHE": str(options.work.resolve() / "cache")}
    environment.setdefault("GOMP_SPINCOUNT", "20000")
    if isa != "native":
        environment["ONEDNN_MAX_CPU_ISA"] = isa
    Path(job["result"]).unlink(missing_ok=True)
    ran = run_measured(
        [sys.executable, str(HERE / "one_engine.py"), str(file)],
        log=options.work / f"{name}.log",
        environment=environment,
        memory_limit_gb=64.0,
        time_limit_s=3600.0,
    )
    row: dict[str, Any] = {"bundle": bundle, "isa": isa, "engine": engine, "format": form}
    row |= {"peak_gb": ran.peak_gb, "failure": ran.failure}
    result = Path(job["result"])
    if result.exists():
        row |= json.loads(result.read_text())
    print(row, flush=True)
    return row


def write_page(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The table, and how it was made."""
    data = Path(options.folder).resolve().name
    words = ["python", "benchmarks/engines/compare.py", "DATASET", "trained/*/training"]
    words += ["--isa", *options.isa, "--engines", *options.engines, "--cases", str(options.cases)]
    labels = next((list(row["dice"]) for row in rows if "dice" in row), [])
    head = ["network", "CPU's instructions", "engine", "format", "s a window", "times PyTorch"]
    head += ["peak GB", "s a case", *(f"Dice {label}" for label in labels), "voxels as float32, %"]
    lines = [
        f"# Engines, windows of {options.window}^3 to {options.classes} classes, and {data}",
        "",
        f"`{shlex.join(words)}`",
        "",
        *(f"- {name}: {value}" for name, value in next(iter(rows)).get("machine", [])),
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for row in rows:
        lines.append("| " + " | ".join(_cells(row, rows, labels)) + " |")
    lines += [
        "",
        "Seconds of a window: the median of several, with random weights. PyTorch is that of the "
        "same format; for int8 that of float32. A case is one of the fold that the training did "
        "not see, from the file to the mask in memory.",
        "",
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"engines_{data}.md").write_text("\n".join(lines))


def _cells(row: dict[str, Any], rows: list[dict[str, Any]], labels: list[str]) -> list[str]:
    begin = [row["bundle"].resolve().parent.name, row["isa"], row["engine"], row["format"]]
    if "window_s" not in row:
        return [*begin, row["failure"] or row.get("refused", "-"), *["-"] * (4 + len(labels))]
    form = "float32" if row["format"] == "int8" else row["format"]
    same = [
        one["window_s"]
        for one in rows
        if (one["bundle"], one["isa"], one["engine"], one["format"])
        == (row["bundle"], row["isa"], "torch", form)
        and "window_s" in one
    ]
    return [
        *begin,
        f"{row['window_s']:.3f}",
        f"{same[0] / row['window_s']:.2f}" if same else "-",
        f"{row['peak_gb']:.2f}",
        f"{statistics.median(row['case_s']):.2f}",
        *(f"{row['dice'][label]:.4f}" for label in labels),
        f"{100 * row['same']:.3f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
