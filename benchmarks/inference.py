"""Gridgate's inference against the model zoo's chain and nnU-Net's predictor.

    python benchmarks/inference.py                                  # a phantom CT, 14 classes
    python benchmarks/inference.py --scan ct.nii.gz --classes 118   # a scan of yours
    python benchmarks/inference.py --nnunet-python /path/to/python  # nnU-Net of another environment

All contestants get the same scan, the same network and weights, the same windows and blending, and
each its own fresh process, one after the other. README.md beside this file says what the columns
mean. This process imports neither PyTorch nor numpy, because its memory would count for its
children's.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import report
from contestants import ours
from materials import NETWORK, OVERLAP, ROI_SIZE, SPACING, WINDOW, truth_of
from measured_process import available_gb, run_measured
from options import make_parser

HERE = Path(__file__).resolve().parent
SMALL = ((110, 96, 96), (1.5, 1.5, 2.0))  # two windows, to warm up
ZOO, ZOO_LOGITS, NNUNET = "model zoo chain", "model zoo chain on logits", "nnU-Net predictor"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: run, print and save; the exit code is 1 when one of our own runs failed."""
    parser = make_parser(__doc__)
    options = parser.parse_args(arguments)
    if options.classes < (2 if options.random_weights else 7):
        parser.error("--classes: the trained network has 7 outputs, a random one 2 or more")
    # so that a contestant does not outlive the benchmark
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Benchmark(options)
    rows = bench.run()
    print(bench.save(rows, bench.comparisons(rows)))
    return int(any(row["failure"] for row in rows if row["kind"] == "ours"))


class Benchmark:
    """One scan, one set of weights, and the contestants that run on them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = Path(options.work).resolve()
        self.load = os.getloadavg()
        places = filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH")))
        self.environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(places),
        }
        # what the gridgate command sets for itself, for all: threads that burn the cores they wait
        # for are no contest
        self.environment.setdefault("GOMP_SPINCOUNT", "20000")
        self.scan = (
            Path(options.scan).resolve()
            if options.scan
            else self._phantom(options.shape, options.spacing)
        )
        self.small = self._phantom(*SMALL)
        weights = ["--classes", options.classes, "--iterations", options.iterations]
        weights += ["--random-weights"] if options.random_weights else []
        self.has_nnunet = "nnunet" in options.contestants and self._can_import_nnunet()
        weights += ["--script"] if self.has_nnunet else []
        self.weights = Path(self._helper("train_weights.py", self.work / "weights", *weights))
        self.bundle = self.work / f"bundle_{self.weights.stem}"
        self._helper(
            "materials.py",
            "bundle",
            self.bundle,
            "--classes",
            options.classes,
            "--weights",
            self.weights,
        )
        self.about = json.loads(self._helper("facts.py"))

    def run(self) -> list[dict[str, Any]]:
        """A row per contestant, in the order of the table.

        Where there are repeats it is the run of median seconds.
        """
        runs: dict[str, list[dict[str, Any]]] = {}
        rows: list[dict[str, Any]] = []
        contestants = self._contestants()
        for _ in range(self.options.repeats):
            for name, contestant in contestants.items():
                print(f"running: {name}", file=sys.stderr, flush=True)
                runs.setdefault(name, []).append({"name": name, **contestant()})
                rows = [
                    sorted(each, key=lambda row: row.get("warm_s", 0.0))[len(each) // 2]
                    for each in runs.values()
                ]
                self.save(rows, [])  # what is measured is not lost when a later one is interrupted
        return rows

    def save(self, rows: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> str:
        """Write <name>.md and <name>.json; returns the page."""
        folder, name = Path(self.options.results), self.options.name or self._default_name()
        folder.mkdir(parents=True, exist_ok=True)
        page = report.markdown(rows, self.facts(), comparisons, reference=ZOO)
        (folder / f"{name}.md").write_text(page)
        numbers = {"facts": self.facts(), "rows": rows, "agreement": comparisons}
        (folder / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
        return page

    def comparisons(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Agreement of the masks: with the chain's, ours in float32, and the phantom's truth."""
        masks = {row["name"]: row["mask"] for row in rows if row.get("mask")}
        if not self.options.scan:
            masks["truth"] = str(truth_of(self.scan))
        exact = "gridgate float32"
        pairs = [(name, ZOO) for name in masks if name not in (ZOO, "truth")]
        pairs += [(name, exact) for name in masks if name.startswith("gridgate") and name != exact]
        pairs += [(name, "truth") for name in masks if name != "truth"]
        pairs = [pair for pair in pairs if pair[1] in masks]
        job = self.work / "agreement.json"
        result = job.with_suffix(".result.json")
        job.write_text(
            json.dumps({"pairs": [[masks[a], masks[b]] for a, b in pairs], "result": str(result)})
        )
        self._helper("agreement.py", job)
        answers = json.loads(result.read_text())
        return [
            {"mask": a, "with": b, **answer} for (a, b), answer in zip(pairs, answers, strict=True)
        ]

    def facts(self) -> list[tuple[str, str]]:
        """What ran on what, for the head of the table."""
        options = self.options
        scan = (
            self.scan.name
            if options.scan
            else f"phantom {_by(options.shape)} at {_by(options.spacing)} mm, int16"
        )
        trained = (
            "random"
            if options.random_weights
            else f"trained on phantoms (this one too), {options.iterations} iterations"
        )
        return [
            ("command", shlex.join(["python", "benchmarks/inference.py", *options.given])),
            ("scan", scan),
            (
                "network",
                f"MONAI UNet {NETWORK['channels']}, {options.classes} classes, weights {trained}",
            ),
            (
                "windows",
                f"{_by(ROI_SIZE)} at {_by(SPACING)} mm, overlap {OVERLAP}, Gaussian blending in "
                "all rows",
            ),
            ("device", options.device),
            *[(name, value) for name, value in self.about["machine"]],
            ("threads", os.environ.get("OMP_NUM_THREADS", "PyTorch's default")),
            ("load before", " ".join(f"{load:.2f}" for load in self.load)),
        ]

    def _default_name(self) -> str:
        scan = self.scan.name.partition(".")[0]
        name = f"{scan}_{self.options.classes}_{self.options.device.replace(':', '')}"
        return name + "_random" * self.options.random_weights

    def _contestants(self) -> dict[str, Callable[[], dict[str, Any]]]:
        options, cuda = self.options, self.options.device.startswith("cuda")
        found: dict[str, Callable[[], dict[str, Any]]] = {}
        if "zoo" in options.contestants:
            found[ZOO] = lambda: self._peer("zoo", "zoo_chain.py", amp=False, softmax=True)
            if cuda:
                found[f"{ZOO}, amp"] = lambda: self._peer(
                    "zoo_amp", "zoo_chain.py", amp=True, softmax=True
                )
            if options.zoo_logits:
                found[ZOO_LOGITS] = lambda: self._peer(
                    "zoo_logits", "zoo_chain.py", amp=False, softmax=False
                )
        if "nnunet" in options.contestants:
            found[NNUNET] = self._nnunet
        if "ours" in options.contestants:
            for name, settings in ours.VARIANTS.items():
                if options.variants and name not in options.variants:
                    continue
                found[f"gridgate {name}"] = lambda name=name, settings=settings: self._ours(
                    name, settings
                )
        return found

    def _ours(self, name: str, settings: dict[str, str]) -> dict[str, Any]:
        row: dict[str, Any] = {"kind": "ours"}
        if (
            settings["amp"] == "True"
            and self.options.device == "cpu"
            and not self.about["cpu_has_bfloat16"]
        ):
            return {**row, "failure": "", "skipped": "this CPU does not multiply bfloat16"}
        job = self._job("ours_" + name.replace(", ", "_").replace(" ", "_"))
        job |= {"bundle": str(self.bundle), "small_scan": str(self.small)}
        job["settings"] = settings
        program = str(HERE / "contestants" / "ours.py")
        if self.options.warm_only:
            row |= self._measure(job, [sys.executable, program, self._write(job)], "warm")
            result = self._result(job, row)
            del row["cold_s"]  # of two runs
            mask = str(Path(job["output"]) / result.pop("mask")) if result else None
            return {**row, **result, "mask": mask}
        cold = self._output(job, "cold")
        command = [
            sys.executable,
            "-m",
            ours.MODULE,
            *ours.command_of(job, scan=job["scan"], output=str(cold)),
        ]
        row |= self._measure(job, command, "cold")
        if row["failure"]:
            return row
        warm = self._measure(job, [sys.executable, program, self._write(job)], "warm")
        row |= {"failure": warm["failure"], **self._result(job, warm)}
        return {**row, "mask": str(cold / ours.read_row(cold)["mask"])}

    def _peer(
        self, folder: str, program: str, *, python: str = sys.executable, **settings: Any
    ) -> dict[str, Any]:
        job = self._job(folder) | settings
        command = [python, str(HERE / "contestants" / program), self._write(job)]
        row = {"kind": "peer", **self._measure(job, command, "log")}
        result = self._result(job, row)
        if result:
            row |= {**result, "mask": str(Path(job["output"]) / "mask.nii.gz")}
            row["cold_s"] -= result["warm_up_s"]
        return row

    def _nnunet(self) -> dict[str, Any]:
        if not self.has_nnunet:
            return {
                "kind": "peer",
                "failure": "",
                "skipped": "not installed (give --nnunet-python)",
            }
        python = self.options.nnunet_python
        return self._peer(
            "nnunet",
            "nnunet_predictor.py",
            python=python,
            nnunet_network=self.options.nnunet_network,
        )

    def _can_import_nnunet(self) -> bool:
        test = "import importlib.util as u, sys; sys.exit(u.find_spec('nnunetv2') is None)"
        try:
            done = subprocess.run([self.options.nnunet_python, "-c", test], env=self.environment)
        except OSError as error:
            raise SystemExit(
                f"--nnunet-python {self.options.nnunet_python}: {error.strerror}"
            ) from error
        return done.returncode == 0

    def _job(self, folder: str) -> dict[str, Any]:
        place = self.work / "runs" / folder
        shutil.rmtree(place, ignore_errors=True)
        (place / "masks").mkdir(parents=True)
        return {
            "scan": str(self.scan),
            "output": str(place / "masks"),
            "result": str(place / "result.json"),
            "weights": str(self.weights),
            "script": str(self.weights.with_suffix(".ts")),
            "network": {**NETWORK, "out_channels": self.options.classes},
            "classes": self.options.classes,
            "device": self.options.device,
            "spacing": SPACING,
            "roi_size": ROI_SIZE,
            "overlap": OVERLAP,
            "window": WINDOW,
            "batch": self.options.batch,
        }

    def _output(self, job: dict[str, Any], name: str) -> Path:
        return Path(job["output"]).with_name(f"masks_{name}")

    def _write(self, job: dict[str, Any]) -> str:
        path = Path(job["result"]).with_name("job.json")
        path.write_text(json.dumps(job))
        return str(path)

    def _measure(self, job: dict[str, Any], command: list[str], log: str) -> dict[str, Any]:
        limit = self.options.memory_limit_gb or available_gb() - 1.5
        measured = run_measured(
            command,
            log=Path(job["result"]).with_name(f"{log}.txt"),
            environment=self.environment,
            memory_limit_gb=limit,
            time_limit_s=self.options.time_limit_s,
        )
        return {
            "failure": measured.failure,
            "cold_s": measured.seconds,
            "peak_gb": measured.peak_gb,
            "max_rss_gb": measured.max_rss_gb,
        }

    def _result(self, job: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        return {} if row["failure"] else json.loads(Path(job["result"]).read_text())

    def _phantom(self, shape: Sequence[int], spacing: Sequence[float]) -> Path:
        path = self.work / "scans" / f"phantom_{_by(shape)}_{_by(spacing).replace('.', 'p')}.nii.gz"
        if not path.exists():
            self._helper("materials.py", "scan", path, "--shape", *shape, "--spacing", *spacing)
        return path

    def _helper(self, program: str, *arguments: object) -> str:
        """Last line that one of our programs prints."""
        command = [sys.executable, str(HERE / program), *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.strip().rpartition("\n")[2]


def _by(numbers: Sequence[float]) -> str:
    return "x".join(f"{number:g}" for number in numbers)


if __name__ == "__main__":
    sys.exit(main())
