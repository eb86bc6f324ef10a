"""What identifies a run: every value of its config that can change a result."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from .values import unquoted

_SEP = "::"
META = "_meta_"
_META_REFERENCE = re.compile(rf"@{META}(?:{_SEP}\w+)*")

# The last part of an id -> why no value of it changes a result. Whatever is not here counts, in
# all of a config's components: a key too many costs a run of the same cases again, a key too few
# takes the results of other settings for this run's.
IGNORED = {
    "output_dir": "where results are written",
    "bundle_root": "where the bundle lies; a copy of it gives the same results",
    "input_dir": "an input path; each input file counts by its size and time",
    "dataset_dir": "an input path; each case counts by its files",
    "splits": "an input path; folds count by their content, which the training keeps",
    "checkpoint": "an input path; weights count by their content",
    "recursive": "which inputs are found, not what becomes of each",
    "overwrite": "whether results are made again",
    "resume": "whether an earlier run goes on",
    "device": "where the same numbers are computed",
    "engine": "what computes the same numbers, but for COUNTED",
    "int8": "where the network in INT8 lies, in the bundle",
    "num_workers": "how many read ahead",
    "persistent_workers": "how long the processes that read live",
    "pin_memory": "how tensors are copied to a GPU",
    "cache_dir": "where preprocessed cases are kept; they are the same",
    "windows_on_device": "where windows are cut; they are the same but for rounding",
    "isolate": "in which process a case runs",
    "ray": "on which machines a case runs",
    "ray_cores": "on how many cores a case runs",
    "shard": "which of the cases; those of other shards are the same",
    "time_limit": "when a case is given up; one that is done is the same",
    "rank": "one of the processes of the same training",
    "report": "whether there is a page",
    "pictures": "how many a page has",
    "report_page": "what a page tells",
    "keep_every": "which checkpoints stay beside model.pt",
    "profile": "whether it is told where the time goes",
    "print_lr": "logging",
    "tracking_uri": "logging, of MONAI's --tracking",
    "experiment_name": "logging, of MONAI's --tracking",
    "run_name": "logging, of MONAI's --tracking",
    "save_execute_config": "logging, of MONAI's --tracking",
    "is_not_rank0": "logging, of MONAI's --tracking",
}
# Values of such ids that do change a result.
COUNTED = {"engine": ("int8",)}
# Handlers that show or record: they read the engine's state and change nothing.
_SHOWS = frozenset(
    {
        "LabelOccurrence",
        "MLFlowHandler",
        "MemoryAdvice",
        "Profile",
        "ProgressBar",
        "StatsHandler",
        "TensorBoardImageHandler",
        "TensorBoardStatsHandler",
        "TrainingPage",
        "TrainingRecord",
    }
)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flat id -> plain value of a parsed config, without what cannot change a result (`IGNORED`).

    Expressions stay text. Of the metadata (`_meta_`) counts what the config refers to. A list
    without dicts is one value.

    Example:
        >>> identity({"spacing": (2, 2, 3), "inferer": {"mode": "constant", "device": "cpu"}})
        {'spacing': [2, 2, 3], 'inferer::mode': 'constant'}

    Args:
        config: with macros resolved, as MONAI's parser holds it after `parse`.

    Returns:
        Values that JSON can hold, the same in each run of the same config.
    """
    own = {key: value for key, value in config.items() if key != META}
    found = dict(_flat(own, ""))
    wanted = {
        text[len(META) + 1 :].removeprefix(_SEP)
        for value in found.values()
        for text in _META_REFERENCE.findall(value if isinstance(value, str) else repr(value))
    }
    for id_, value in _flat({META: config.get(META) or {}}, ""):
        inside = id_[len(META) + len(_SEP) :]
        if any(name == "" or (inside + _SEP).startswith(name + _SEP) for name in wanted):
            found[id_] = value
    return found


def refers_to_metadata(config: Mapping[str, Any]) -> bool:
    """Whether any value of the config refers to the metadata."""
    own = {key: value for key, value in config.items() if key != META}
    return _META_REFERENCE.search(repr(own)) is not None


def _counts(key: str, value: Any) -> bool:
    return key not in IGNORED or (key in COUNTED and value in COUNTED[key])


def _flat(value: Any, id_: str) -> Iterator[tuple[str, Any]]:
    """Each id of the tree and its value; an empty dict is a value too."""
    if isinstance(value, Mapping):
        items = [(str(key), inside) for key, inside in value.items() if _counts(str(key), inside)]
        if not items and id_:
            yield id_, {}
        for key, inside in items:
            yield from _flat(inside, f"{id_}{_SEP}{key}" if id_ else key)
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        counted = [one for one in value if not _only_shows(one)]
        for index, inside in enumerate(counted):
            yield from _flat(inside, f"{id_}{_SEP}{index}")
    else:
        yield id_, plain(value)


def _only_shows(component: Any) -> bool:
    if not isinstance(component, Mapping):
        return False
    return str(component.get("_target_")).rsplit(".", 1)[-1] in _SHOWS


def plain(value: Any) -> Any:
    """A value as JSON can hold it, the same in each process: objects as their type and content."""
    if isinstance(value, str):
        return unquoted(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return value.tolist()
    if isinstance(value, PurePath | torch.device | torch.dtype):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inside) for key, inside in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(inside) for inside in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(inside) for inside in value]
    if isinstance(value, type) or hasattr(value, "__code__"):
        return _name(value)
    # an object that a Python caller handed over; repr() would tell its address in memory
    try:
        content = hashlib.sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # whatever its own pickling raises
        content = "unknown"
    return {"type": _name(type(value)), "content": content}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
