"""The demo: phantom CTs, training, evaluation, masks for a folder of scans and a report.

The three workflows run as commands of their own, the very ones that a user types.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ...data.errors import ConfigError, GridgateError, OutputError
from ...data.phantom.dataset import write_phantom_dataset, write_phantom_scans
from ...data.phantom.phantom import PHANTOM_LABELS
from ..batch.results.case_result import DONE, FAILED
from ..batch.results.table_file import read_case_table
from ..models.checkpoints import weights_file
from ..reports.page import duration
from ..reports.pictures.labels import spoken
from ..reports.report import Run, write_report

BUNDLE = "phantom_attention_unet"
_MARK = ".gridgate-demo"
_MARK_TEXT = "Made by `gridgate demo`, which replaces what it wrote here when it runs again.\n"
# Written anew by each run. The datasets are kept: the same seeds give the same phantoms.
_RESULTS = ("training", "evaluation", "predictions", "pictures", "scans")
_BROKEN = "broken_scan"

_INTRO = (
    "An Attention U-Net trained in minutes on synthetic abdominal CTs, measured on others that it "
    "never saw, "
    "and run on a folder of scans of which one file is broken on purpose. The numbers show that "
    "the pipeline "
    "works; they say nothing about patients."
)


class DemoError(GridgateError):
    """A step of the demo did not end as it must; its own output, above, says why."""


def run_demo(
    folder: str | Path = "demo",
    *,
    bundle_dir: Path | None = None,
    cases: int = 24,
    unseen: int = 5,
    scans: int = 3,
    training_options: Sequence[str] = (),
) -> Path:
    """Make phantoms, train on them, evaluate, segment a folder of scans, write report.html.

    The network is measured on `unseen` phantoms that had no part in training, not even in choosing
    the best checkpoint. In a folder of its own, marked by a file `.gridgate-demo`; run again, it
    starts afresh there.

    Args:
        bundle_dir: by default the phantom bundle that comes with Gridgate.
        cases: phantoms to train on; a fifth of them are the validation cases.
        scans: unlabelled scans, in different orientations, beside the broken one.
        training_options: more words of the training command, such as ("--epochs", "2").

    Raises:
        ConfigError: the folder holds something else than a demo.
        DemoError: a step did not end as it must.
    """
    started = time.monotonic()
    root = _claim(Path(folder))
    steps = _Steps()
    told = f"{cases} phantom CTs to train on, {unseen} to measure on, {scans + 1} scans"
    with steps.timed("phantoms", told):
        _dataset(root / "dataset", cases=cases, seed=0)
        _dataset(root / "unseen", cases=unseen, seed=5000)
        write_phantom_scans(root / "scans", cases=scans, seed=9000, broken=True)
    bundle = BUNDLE if bundle_dir is None else bundle_dir
    _run_workflows(steps, root, bundle, scans=scans, training_options=training_options)
    with steps.timed("report", "the report"):
        report = _report(root, steps)
    print(_closing(root / "evaluation", report, time.monotonic() - started), flush=True)
    return report


def _run_workflows(
    steps: _Steps,
    root: Path,
    bundle: str | Path,
    *,
    scans: int,
    training_options: Sequence[str],
) -> None:
    training = root / "training"  # a bundle, once it is trained
    steps.workflow(
        "training",
        "training an Attention U-Net",
        ["train", bundle, root / "dataset", training, *training_options],
    )
    trained = steps.code == 0 and weights_file(training).is_file()
    _expect(trained, f"the training ended with code {steps.code}")
    steps.workflow(
        "evaluating",
        "measuring it on phantoms that it never saw",
        ["evaluate", training, root / "unseen", root / "evaluation", "--part", "all"],
    )
    _expect(steps.code == 0, f"the evaluation ended with code {steps.code}")
    steps.workflow(
        "inferring",
        f"masks for a folder of scans; {_BROKEN}.nii.gz is cut off on purpose",
        ["infer", training, root / "scans", root / "predictions"],
    )
    print(_check_predictions(root / "predictions", code=steps.code, scans=scans), flush=True)


def _report(root: Path, steps: _Steps) -> Path:
    run = Run(
        title="Gridgate demo",
        intro=_INTRO,
        labels=list(PHANTOM_LABELS),
        training_dir=root / "training",
        evaluation_dir=root / "evaluation",
        predictions_dir=root / "predictions",
        dataset_dir=root / "unseen",
        bundle_dir=root / "training",
        checkpoint=weights_file(root / "training"),
        commands=steps.done,
    )
    return write_report(root / "report.html", run)


class _Steps:
    """Runs the steps one after another and keeps (name, command, seconds) of each."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, float]] = []
        self.code = 0
        self._began = 0.0

    def timed(self, name: str, text: str) -> _Steps:
        """A step that runs here, as a context."""
        self._name = name
        print(f"\n=== {text}", flush=True)
        return self

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.done.append((self._name, "", time.monotonic() - self._began))

    def workflow(self, name: str, text: str, words: Sequence[str | Path]) -> None:
        """A `gridgate` command in a process of its own; leaves its exit code in `code`."""
        shown = [_short(word) if isinstance(word, Path) else word for word in words]
        line = shlex.join(["gridgate", *shown])
        with self.timed(name, text):
            print(f"$ {line}", flush=True)
            # what the libraries deprecate is nothing that a reader of the demo could change
            environment = {"PYTHONWARNINGS": "ignore", **os.environ}
            command = [sys.executable, "-m", "gridgate", *shown]
            self.code = subprocess.run(command, env=environment, check=False).returncode
        self.done[-1] = (name, line, self.done[-1][2])


def _claim(root: Path) -> Path:
    """The demo's folder, made or emptied of an earlier demo's results.

    Raises:
        ConfigError: it is not ours to write in.
        OutputError: it cannot be written.
    """
    mark = root / _MARK
    try:
        if root.exists() and not root.is_dir():
            raise ConfigError(f"{root} is a file; give a new folder with --folder")
        if root.is_dir() and any(root.iterdir()) and not mark.is_file():
            raise ConfigError(
                f"{root} holds files that no demo wrote; give a new folder with --folder"
            )
        root.mkdir(parents=True, exist_ok=True)
        mark.write_text(_MARK_TEXT, encoding="utf-8")
        for name in _RESULTS:
            _remove(root / name)
        (root / "report.html").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot write there ({error.strerror}); give another --folder"
        ) from error
    return root


def _remove(folder: Path) -> None:
    """Delete a folder of ours; where someone has put a link in its place, only the link."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _dataset(folder: Path, *, cases: int, seed: int) -> None:
    """The phantoms of an earlier demo when they are the same ones, else new ones."""
    try:
        write_phantom_dataset(folder, cases=cases, seed=seed)
    except GridgateError:
        _remove(folder)
        write_phantom_dataset(folder, cases=cases, seed=seed)


def _check_predictions(folder: Path, *, code: int, scans: int) -> str:
    """What the run over the scans led to, in words: one failure, and an exit code that says so.

    Raises:
        DemoError: anything else.
    """
    rows = read_case_table(folder / "cases.csv")
    failed = [row["case"] for row in rows if row["status"] == FAILED]
    done = [row for row in rows if row["status"] == DONE and (folder / row["output"]).is_file()]
    names = ", ".join(failed) or "none"
    found = f"{len(done)} of {len(rows)} scans have a mask, failed: {names}, exit code {code}"
    if failed != [_BROKEN] or len(done) != scans or code == 0:
        raise DemoError(
            f"{found}; expected were {scans} masks, {_BROKEN} as the only failure, and a code that "
            "is not 0"
        )
    table = _short(folder / "cases.csv")
    return f"As it must be: {found}. The broken file is named with its reason in {table}."


def _expect(fact: bool, otherwise: str) -> None:
    if not fact:
        raise DemoError(f"{otherwise}; what it printed above says why")


def _closing(evaluation: Path, report: Path, seconds: float) -> str:
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    dice = {spoken(name): entry["dice"]["mean"] for name, entry in summary["labels"].items()}
    dice["mean"] = summary["mean"]["dice"]
    lines = [f"\nDice on {summary['cases']} phantoms that it never saw:"]
    lines += [
        f"  {name:14s} {'-' if value is None else format(value, '.3f')}"
        for name, value in dice.items()
    ]
    return "\n".join(
        [*lines, f"\nDone in {duration(seconds)}. Open {_short(report)} in a browser."]
    )


def _short(path: str | Path) -> str:
    """A path from the working directory where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
