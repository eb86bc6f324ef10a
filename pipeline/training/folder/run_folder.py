"""The output folder of a training: one run at a time, and resumed only as the run that it holds."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from monai.engines import Workflow

from ....data.datasets.dataset import Dataset, load_dataset
from ....data.datasets.folds import load_or_make_splits
from ....data.errors import ConfigError
from ....data.output_folder import OutputFolder
from ...models.checkpoints import BEST, LAST
from .earlier import keep_earlier
from .provenance import STARTS, starts_so_far, this_start
from .run_record import (
    GIVEN,
    SETTINGS,
    RunRecord,
    changed_dataset,
    changed_settings,
    dataset_contents,
    read_run,
)

SPLITS, METRICS, PROFILE = "splits.json", "metrics_train.csv", "profile.csv"
WEIGHTS = f"models/{BEST}"
KEPT = f"{Path(WEIGHTS).parent.as_posix()}/epoch_{{epoch:04d}}.pt"
"""A checkpoint that stays: the averaged weights after an epoch."""
EPOCHS = KEPT.replace("{epoch:04d}", "*")
PAGE = "report.html"
RESULTS = (WEIGHTS, LAST, SETTINGS, SPLITS, METRICS, PROFILE, PAGE)
"""What a training writes, TensorBoard's events aside."""

_OLDER_PARTS = re.compile(r"\.((model|last)\.pt\.\d+|metrics_train\.csv)\.part")
_MOST_NAMED = 12


class _Held:
    """A folder whose lock this process holds, and the files that it has written there."""

    def __init__(self, folder: Path) -> None:
        self.output = OutputFolder(folder)
        self.output.__enter__()
        self.running = False
        self._mine: set[str] = set()

    def write(self, relative: str, write: Callable[[BinaryIO], object]) -> None:
        if relative in self._mine:
            self.output.record(relative)  # whoever has changed it while the training runs
        self.output.write(relative, write)
        self._mine.add(relative)

    def adopt(self, relative: str) -> None:
        """The file may be replaced from now on, until the training ends.

        The table of metrics grows, and stays Gridgate's with whatever is in it.
        """
        if relative not in self._mine:
            self.output.record(relative, any_content=relative == METRICS)
            self._mine.add(relative)

    def release(self) -> None:
        self.output.__exit__(None, None, None)


_held: dict[Path, _Held] = {}


def open_run_folder(
    output_dir: str | Path,
    *,
    dataset_dir: str | Path | None,
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    more_results: Iterable[str] = (),
    in_place: bool = False,
    rank: int = 0,
) -> None:
    """Take the output folder for this training, and write down what identifies it.

    Writes settings.json, with this start added to those before it (see `provenance`), and
    splits.json, and removes what a killed run left half-written. The
    folder is this process's until `close_run_folder`, or until the process ends.

    Args:
        dataset_dir, fold, folds, split_seed, splits: of the split, whose content counts; a
            dataset_dir of None: a tool gives the cases.
        resume: go on with the training that is there.
        settings: see RunRecord; `workflow.run_settings()` of the running config.
        more_results: other files that the training will write there.
        in_place: the folder is the bundle that is trained. With a tool's own cases a training there
            replaces the tool's one before; weights and results of others are kept, see `earlier`.
        rank: of this process; all but the first only check.

    Raises:
        ConfigError: another run is writing there; an earlier training is there and `resume` is
            off; or it had other settings or another dataset. The text names each.
        OutputError: the folder cannot be written, or holds files of others in the results' places.
    """
    folder = Path(output_dir)
    dataset = None if dataset_dir is None else load_dataset(dataset_dir)
    split = {} if dataset is None else {"fold": fold, "folds": folds, "split_seed": split_seed}
    run = RunRecord({**split, **(settings or {})}, _contents(dataset))
    round_ = in_place and dataset is None and not resume
    if not round_:
        _check(folder, run, resume=resume)
    if rank:
        return
    held = _take(folder)
    try:
        if round_:
            _keep_earlier(held.output)
        else:
            _check(folder, run, resume=resume)  # another run may have ended between the two
        _begin(held, run, resume=resume, more_results=more_results)
        if dataset is not None:
            load_or_make_splits(
                dataset, folds=folds, seed=split_seed, splits=splits, path=folder / SPLITS
            )
            held.adopt(SPLITS)
    except BaseException:
        close_run_folder(folder)
        raise


def close_run_folder(output_dir: str | Path) -> None:
    """Give the folder back; nothing where this process does not hold it."""
    held = _held.pop(Path(output_dir).resolve(), None)
    if held is not None:
        held.release()


def run_in_folder(trainer: Workflow, output_dir: str | Path) -> None:
    """Run a training in the folder that `open_run_folder` took; give it back however it ends."""
    held = _held.get(Path(output_dir).resolve())
    if held is not None:
        held.running = True
    try:
        trainer.run()
    finally:
        close_run_folder(output_dir)


def write_result(
    output_dir: str | Path, relative: str, write: Callable[[BinaryIO], object]
) -> None:
    """Write one of a training's files, complete or not at all.

    Args:
        relative: such as models/model.pt.
        write: writes the content to the binary stream it is given.

    Raises:
        OutputError: the system refuses, or a file of someone else is in its place.
    """
    held = _held.get(Path(output_dir).resolve())
    if held is not None:
        held.write(relative, write)
    else:  # handlers of ours in a training of someone else's
        OutputFolder(output_dir).write(relative, write)


def is_free(output_dir: str | Path, relative: str) -> bool:
    """Whether a result may be written there: no file is, or one that is Gridgate's, unchanged."""
    held = _held.get(Path(output_dir).resolve())
    output = OutputFolder(output_dir) if held is None else held.output
    return not os.path.lexists(output.path(relative)) or output.owns(relative)


def check_unseen(folder: str | Path, cases: list[str]) -> None:
    """Refuse validation cases that the training in a folder trained on, where it left its splits.

    Raises:
        ConfigError: there are such; the text tells the fold to evaluate.
    """
    run, path = read_run(folder), Path(folder) / SPLITS
    if run is None or not path.is_file() or "fold" not in run.settings:
        return
    settings = run.settings
    fold = json.loads(path.read_text(encoding="utf-8"))[settings["fold"]]
    seen = sorted(set(cases) & set(fold["train"]))
    if seen and not fold["validation"] and "folds" in settings:
        raise ConfigError(
            f"{folder}: trained on all of its {len(fold['train'])} cases, and held none out, so "
            f"{len(seen)} of these {len(cases)} validation cases were trained on, such as "
            f"{seen[0]}: their Dice would say nothing of other scans. Measure a dataset of other "
            "cases by --part all, or train folds (--folds 5) to measure these; --part train or "
            "--part all says that you mean cases that were trained on"
        )
    if seen and not fold["validation"]:  # of a fit
        raise ConfigError(
            f"{folder}: {len(seen)} of these {len(cases)} validation cases were trained on, such "
            f"as {seen[0]}, by one or another of its networks; {folder}/cross_validation measures "
            "each by those that did not. Measure other cases, or say what you measure by --part "
            "train or --part all"
        )
    if seen:
        raise ConfigError(
            f"{folder}: {len(seen)} of these {len(cases)} validation cases were trained on, such "
            f"as {seen[0]}; evaluate with --splits {path} --fold {settings['fold']}, or say what "
            "you measure by --part train or --part all"
        )


def _take(folder: Path) -> _Held:
    key = folder.resolve()
    if key in _held and not _held[key].running:
        close_run_folder(folder)  # of a training of this process that failed before it began
    held = _Held(folder)
    _held[key] = held
    for path in folder.iterdir():  # the folder itself removes what has today's temporary names
        if path.is_file() and _OLDER_PARTS.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
    return held


def _contents(dataset: Dataset | None) -> dict[str, Any]:
    return dict(GIVEN) if dataset is None else dataset_contents(dataset)


def _begin(held: _Held, run: RunRecord, *, resume: bool, more_results: Iterable[str]) -> None:
    """Go on with what is there, or refuse to write in the place of others' files; settings.json."""
    starts: list[dict[str, Any]] = []
    if resume and (held.output.folder / LAST).exists():
        starts = starts_so_far(held.output.folder / SETTINGS)
        _adopt(held, held.output.folder)
    else:
        held.output.refuse_foreign(name for name in (*RESULTS, *more_results) if name != SPLITS)
    content: dict[str, Any] = {"format": 2, "settings": run.settings, "dataset": run.dataset}
    content[STARTS] = [*starts, this_start()]
    held.write(SETTINGS, lambda stream: stream.write(json.dumps(content, indent=1).encode()))


def _keep_earlier(output: OutputFolder) -> None:
    """Keep all but what an earlier round with a tool's own cases wrote there, unchanged since."""
    before = read_run(output.folder)
    own_round = before is not None and before.dataset == GIVEN
    epochs = sorted(path.relative_to(output.folder) for path in output.folder.glob(EPOCHS))
    results = [*RESULTS, *(path.as_posix() for path in epochs)]
    names = [name for name in results if not (own_round and output.owns(name))]
    keep_earlier(output, names, weights=WEIGHTS)
    if own_round:  # or the table would go on with the rows of the round before
        output.remove(METRICS)
        for path in epochs:
            output.remove(path)


def _adopt(held: _Held, folder: Path) -> None:
    """Record the files of the training that goes on: copied ones, or of an earlier version."""
    for name in RESULTS:
        if (folder / name).exists():
            held.adopt(name)
    older = folder / BEST
    if older.is_file() and not (folder / WEIGHTS).exists():
        with open(older, "rb") as source:
            held.write(WEIGHTS, lambda stream: shutil.copyfileobj(source, stream))


def _check(folder: Path, run: RunRecord, *, resume: bool) -> None:
    if not resume:
        if (folder / LAST).exists():
            raise ConfigError(
                f"{folder} holds a training already; add --resume True to go on with it, or give "
                "another --output_dir"
            )
        return
    before = read_run(folder)
    if before is None or not (folder / LAST).exists():
        return
    changed = changed_settings(before, run) + changed_dataset(before.dataset, run.dataset)
    if changed:
        more = len(changed) - _MOST_NAMED
        shown = changed[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise ConfigError(
            f"{folder}: the training there is another one, so it cannot be resumed: "
            f"{'; '.join(shown)}. Give the settings it had (--epochs and --patience may change), "
            "or another --output_dir"
        )


@atexit.register
def _close_all() -> None:
    for folder in list(_held):
        with suppress(Exception):
            close_run_folder(folder)
