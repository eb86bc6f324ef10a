"""nnU-Net's own prediction beside `gridgate infer`, of one model on the same scans.

    python benchmarks/engines/beside_nnunet_predict.py RESULTS SCANS --nnunet-python PYTHON
    ... --int8 DATASET

RESULTS is a result folder of nnU-Net v2, SCANS a folder of <case>_0000.nii.gz. The model is
imported, then both predict every scan, each in a fresh process, one after the other, `--repeats`
times by turns (nnU-Net `--their-repeats`); mirroring as the checkpoint allows, or none with
--no-mirroring. Gridgate keeps which engine was the fastest here, and a converted network: its
first run begins without, the later ones have it. With --int8 `gridgate quantise` makes the model's
INT8 of the folder's fold 0, which the training should not have seen. Seconds are of the whole
command, start and writing included, as a user waits for it; peak memory is that of all its
processes together. Agreement is the share of equal voxels and the lowest Dice of a label, over all
scans. Nothing else should run meanwhile. Writes results/nnunet_predict_<scans' folder>.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measured_process import Measured, run_measured  # noqa: E402

THEIRS = "nnUNetv2_predict"
OURS: dict[str, list[str]] = {
    "gridgate infer": [],
    "gridgate infer --amp auto": ["--amp", "auto"],
}
"""As imported, in float32 on a CPU as nnU-Net, and in bfloat16 where the CPU has it."""
INT8 = "gridgate infer --engine int8"


def main() -> int:
    """Entry point."""
    options = _parser().parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    bundle = work / "bundle"
    mirroring = [] if options.mirroring else ["--no-mirroring"]
    fast = ["--fast-resampling"] if options.fast_resampling else []
    gridgate = [sys.executable, "-m", "gridgate"]
    if not bundle.exists():
        words = [*gridgate, "import-model", str(options.model), str(bundle), *mirroring, *fast]
        _sound(_run(words, work / "import.log", options))
    ours = {name: [str(bundle), *more] for name, more in OURS.items()}
    if options.int8 is not None:
        ours[INT8] = [str(work / "int8"), "--engine", "int8"]
        if not (work / "int8").exists():
            words = [*gridgate, "quantise", str(bundle), str(options.int8), str(work / "int8")]
            words += [] if options.int8_splits is None else ["--splits", str(options.int8_splits)]
            _sound(_run(words, work / "quantise.log", options))
    runs: dict[str, list[Measured]] = {name: [] for name in (THEIRS, *ours)}
    shutil.rmtree(work / "cache", ignore_errors=True)
    for number in range(options.repeats):
        if number < (options.their_repeats or options.repeats):
            theirs = work / f"theirs_{number}"
            log = work / f"{theirs.name}.log"
            runs[THEIRS].append(_sound(_run(_nnunet(options, theirs), log, options)))
        for place, (name, (of, *more)) in enumerate(ours.items()):
            output = work / f"ours_{place}_{number}"
            words = [*gridgate, "infer", of, str(options.scans), str(output), *more]
            words += ["--report", "false", "--device", options.device, "--overwrite", "true"]
            runs[name].append(_sound(_run(words, work / f"{output.name}.log", options)))
            print(name, runs[name][-1].seconds, flush=True)
    agreements = {
        name: agree(work / "theirs_0", work / f"ours_{place}_0") for place, name in enumerate(ours)
    }
    page = report(runs, agreements, options)
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"nnunet_predict_{options.scans.resolve().name}.md"
    target.write_text(page, encoding="utf-8")
    print(page, target, sep="\n")
    return 0


def agree(theirs: Path, ours: Path) -> tuple[float, float, int]:
    """Share of equal voxels, lowest Dice of a label over all scans, and how many scans."""
    same = total = 0
    both: dict[int, float] = {}
    either: dict[int, float] = {}
    files = sorted(theirs.glob("*.nii.gz"))
    for file in files:
        mine = next(
            path
            for name in (file.name, file.name.replace(".nii.gz", "_0000.nii.gz"))
            if (path := ours / name).exists()
        )
        a, b = (np.asarray(nib.load(path).dataobj) for path in (file, mine))
        same, total = same + int((a == b).sum()), total + a.size
        for label in np.union1d(np.unique(a), np.unique(b)).tolist():
            one, other = a == label, b == label
            both[label] = both.get(label, 0.0) + 2 * float((one & other).sum())
            either[label] = either.get(label, 0.0) + float(one.sum() + other.sum())
    return same / total, min(both[label] / either[label] for label in either), len(files)


def report(
    runs: dict[str, list[Measured]],
    agreements: dict[str, tuple[float, float, int]],
    options: argparse.Namespace,
) -> str:
    """The page."""
    from gridgate.pipeline.models.machine import machine_facts  # late: the parent stays small

    count = next(iter(agreements.values()))[2]
    rows = []
    first = runs[THEIRS]
    for name, measured in runs.items():
        begun, later = measured[0].seconds, [one.seconds for one in measured[1:]]
        known = statistics.median(later) if later else begun
        theirs = statistics.median(one.seconds for one in first)
        peak = max(one.peak_gb for one in measured)
        less = max(one.peak_gb for one in first) / peak
        cells = [name, f"{begun:.1f}", f"{known:.1f}" if later else "-"]
        cells += [f"{theirs / begun:.2f}", f"{theirs / known:.2f}" if later else "-"]
        cells += [f"{peak:.2f}", f"{less:.2f}"]
        if name in agreements:
            voxels, dice, _ = agreements[name]
            cells += [f"{voxels:.5%}", f"{dice:.5f}"]
        else:
            cells += ["-", "-"]
        rows.append(f"| {' | '.join(cells)} |")
    told = [
        f"# One model of nnU-Net, {count} scans",
        "",
        f"`{options.model.name}`, on {options.device}, "
        + ("mirrored as its checkpoint allows" if options.mirroring else "without mirroring")
        + (", trilinear resampling (`--fast-resampling`)" if options.fast_resampling else "")
        + f"; {options.repeats} runs of each command, by turns ({len(first)} of nnU-Net's), and "
        "the median of the later ones.",
        "",
        "| command | first run, s | later, s | times as fast | later | peak GB | times less | "
        "equal voxels | lowest Dice |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        *(f"- {name}: {value}" for name, value in machine_facts()),
        "",
    ]
    return "\n".join(told)


def _nnunet(options: argparse.Namespace, output: Path) -> list[str]:
    command = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder"
    words = [str(options.nnunet_python), "-c", f"{command}; predict_entry_point_modelfolder()"]
    words += ["-i", str(options.scans), "-o", str(output), "-m", str(options.model)]
    words += ["-device", options.device, "-npp", "1", "-nps", "1"]
    folds = sorted(path.name.removeprefix("fold_") for path in options.model.glob("fold_[0-9]*"))
    words += ["-f", *(folds or ["all"])]
    return words if options.mirroring else [*words, "--disable_tta"]


def _run(words: Sequence[str], log: Path, options: argparse.Namespace) -> Measured:
    environment = {**os.environ, "GRIDGATE_CACHE": str(log.parent / "cache")}
    if words[0] == str(options.nnunet_python):
        environment.pop("PYTHONPATH", None)
        for name in ("raw", "preprocessed", "results"):
            environment[f"nnUNet_{name}"] = str(log.parent)
    return run_measured(
        words,
        log=log,
        environment=environment,
        memory_limit_gb=options.memory_limit_gb,
        time_limit_s=options.time_limit,
    )


def _sound(measured: Measured) -> Measured:
    if measured.failure:
        raise SystemExit(measured.failure)
    return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", type=Path, metavar="RESULTS")
    add("scans", type=Path, metavar="SCANS")
    add("--nnunet-python", type=Path, required=True)
    add("--repeats", type=int, default=3)
    add("--their-repeats", type=int, help="default: as --repeats")
    add("--int8", type=Path, metavar="DATASET", help="with labels, for gridgate quantise")
    add("--int8-splits", type=Path, metavar="FILE", help="its folds, as for few cases")
    add("--device", default="cpu")
    add("--no-mirroring", dest="mirroring", action="store_false")
    add("--fast-resampling", action="store_true")
    add("--work", type=Path, default=Path("nnunet_predict"))
    add("--results", type=Path, default=HERE.parent / "results")
    add("--memory-limit-gb", type=float, default=1000.0)
    add("--time-limit", type=float, default=36000.0, metavar="SECONDS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
