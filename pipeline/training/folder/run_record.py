"""What identifies a training, as settings.json holds it, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ....data.datasets.dataset import Dataset
from ....data.errors import ConfigError
from ....data.images.parts import files_of

SETTINGS = "settings.json"
CHANGEABLE = {
    "epochs": "how long the training goes on",
    "patience": "when it ends by itself",
    "cudnn_benchmark": "how cuDNN chooses between kernels that differ in rounding alone",
}
"""Ids that a run may be resumed with other values of, beside those of `run_settings`, and why."""

GIVEN = {"given": True}
"""In the place of a dataset's contents, where a tool gave the cases: settings name them."""
_PIECE, _BEGINNING, _SAMPLE = 1 << 20, 1 << 16, 1 << 12  # bytes
_SPLIT = {"fold", "folds", "split_seed"}


@dataclass(frozen=True)
class RunRecord:
    """What settings.json holds.

    Args:
        settings: flat id -> value of the resolved config, see workflow.run_settings.
        dataset: what was trained on: "labels", "regions", what is "annotated" where not all is,
            "cases": id -> sizes in bytes of its images and its label map, and "digests": id -> what
            is in them, see `digest`. Empty for trainings of earlier versions.
    """

    settings: dict[str, Any]
    dataset: dict[str, Any]


def read_run(folder: str | Path) -> RunRecord | None:
    """What a training's settings.json holds; None without one.

    Raises:
        ConfigError: it cannot be read.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "format" not in content:  # of an earlier version
            return RunRecord(dict(content), {})
        return RunRecord(dict(content["settings"]), dict(content["dataset"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); restore it, or train into another --output_dir"
        ) from error


def changed_settings(before: RunRecord, now: RunRecord) -> list[str]:
    """The settings that a run had otherwise, a text per id; those of CHANGEABLE are left out."""
    earlier, current = before.settings, now.settings
    names = [*earlier, *(name for name in current if name not in earlier)]
    # earlier versions, and tools that parse a config themselves, write few of them down
    if not before.dataset or not set(earlier) - _SPLIT or not set(current) - _SPLIT:
        names = [name for name in earlier if name in current]
    shown = [(name, _shown(earlier, name), _shown(current, name)) for name in names]
    return [
        f"{name} was {before_} and is now {now_}"
        for name, before_, now_ in shown
        if before_ != now_ and name not in CHANGEABLE
    ]


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], sort_keys=True) if name in settings else "not set"


def changed_dataset(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a dataset had otherwise, by two `dataset_contents`, a text per difference."""
    if not before or before == now:
        return []
    if GIVEN in (before, now):
        return ["its cases came from a dataset folder, or come from one now"]
    changed = []
    for name in ("labels", "ignore", "channels", "regions"):
        if name in before and before[name] != now[name]:
            changed.append(f"the dataset's {name} were {before[name]} and are {now[name]}")
    if before.get("annotated", now["annotated"]) != now["annotated"]:
        changed.append("other labels are declared as annotated in dataset.json")
    earlier, current = before.get("cases", {}), now["cases"]
    for id_ in sorted({*earlier, *current}):
        if id_ not in current:
            changed.append(f"case {id_} is gone from the dataset")
        elif id_ not in earlier:
            changed.append(f"case {id_} is new in the dataset")
        elif earlier[id_] != current[id_]:
            changed.append(
                f"case {id_} has other files (bytes were {earlier[id_]}, are {current[id_]})"
            )
        elif before.get("digests", now["digests"]).get(id_) != now["digests"][id_]:
            changed.append(f"case {id_} has other voxels in files of the same sizes")
    return changed


def dataset_contents(dataset: Dataset) -> dict[str, Any]:
    """The labelled cases with what their files hold: what cannot change without changing the run.

    Neither times nor places of the files count: a copy of the dataset is the same.
    """
    cases, digests = {}, {}
    for case in dataset.cases:
        labels = [] if case.label is None else [case.label]
        files = [*case.images, *labels]
        cases[case.id] = [
            sum(part.stat().st_size for part in files_of(path) if part.exists()) for path in files
        ]
        digests[case.id] = [*map(digest, case.images), *(digest(one, whole=True) for one in labels)]
    return {
        "labels": dict(dataset.labels),
        "ignore": dataset.ignore,
        "channels": list(dataset.channel_names),
        "regions": {name: list(values) for name, values in (dataset.regions or {}).items()},
        "annotated": {
            case.id: list(case.annotated) for case in dataset.cases if case.annotated is not None
        },
        "cases": cases,
        "digests": digests,
    }


def digest(path: str | Path, *, whole: bool = False) -> str:
    """12 hexadecimal digits of what the files of an image hold.

    Args:
        whole: look at every byte, as of a label map that somebody has corrected: uncompressed it
            has the size it had. Else at the first 64 KiB and at five other places, which a scan
            that was computed anew does not have in common with the one before.
    """
    parts = [(part, part.stat()) for part in files_of(path) if part.exists()]
    return _digest(tuple((part, of.st_size, of.st_mtime_ns) for part, of in parts), whole)


@cache  # of five folds in one process the files are looked at once
def _digest(parts: tuple[tuple[Path, int, int], ...], whole: bool) -> str:
    found = hashlib.blake2b(digest_size=6)
    for part, size, _ in parts:
        with open(part, "rb") as file:
            for start, length in _looked_at(size, whole=whole):
                file.seek(start)
                found.update(file.read(length))
    return found.hexdigest()


def _looked_at(size: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    """(start, length) of a file's parts."""
    if whole:
        yield from ((start, _PIECE) for start in range(0, size, _PIECE))
        return
    yield 0, _BEGINNING
    for place in range(1, 6):
        yield max(size * place // 5 - _SAMPLE, 0), _SAMPLE
