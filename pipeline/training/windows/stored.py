"""A training's cases on disk: each preprocessed once, found again by content and settings."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Transform
from monai.transforms.traits import RandomizableTrait
from monai.transforms.utils import convert_to_contiguous

from ....data.datasets.cache.folder import BusyError, CaseCache
from ....data.datasets.cache.stored_case import StoredCase
from ....data.datasets.cache.values import Held
from ....data.progress import Progress
from .key import case_key, hashed, paths_of, settings_of
from .tensors import from_held, to_held

_NONE = object()
_FILE = "filename_or_obj"
_REMEMBERED = 256  # cases of which a process knows where what is
_LARGE = 4096  # numbers of a tensor that is not kept in memory


class StoredCases(Sequence[dict[str, Any]]):
    """Preprocessed cases on disk, as `store_cases` made or found them; small when pickled.

    Args:
        items: the dataset's.
        parts: for each item its stored cases, one per stage of the preprocessing.
        random: what is done with each case when it is read, if anything.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        parts: Sequence[Sequence[StoredCase]],
        random: Compose | None = None,
    ) -> None:
        self.items, self.parts, self.random = items, parts, random
        self._latest: OrderedDict[tuple[int, tuple[str, ...]], dict[str, Any]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_latest": OrderedDict()}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        """A case as the preprocessing left it, all of it read."""
        case = self.opened(index, ())
        return case if self.random is None else self.random(case)

    def opened(self, index: int, in_parts: Sequence[str]) -> dict[str, Any]:
        """A case with some of its items left on disk, to be read box by box.

        Args:
            in_parts: these become StoredVolume, or lists of StoredIndices.
        """
        key = index, tuple(in_parts)
        if key in self._latest:
            self._latest.move_to_end(key)
            return dict(self._latest[key])
        case = dict(self.items[index])
        for part in self.parts[index]:
            case = _with_stage(case, part, in_parts)
        if in_parts and not any(map(_is_large, case.values())):
            self._latest[key] = case
            if len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)
        return dict(case)

    @property
    def reads_parts(self) -> bool:
        """Whether cases may be `opened`: nothing is done with a whole case first."""
        return self.random is None

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(part.bytes for parts in self.parts for part in parts)


def store_cases(
    items: Sequence[Mapping[str, Any]], transform: Compose, cache: CaseCache, *, threads: int = 2
) -> tuple[StoredCases, int]:
    """Preprocess the cases that the cache lacks, with a progress bar; and how many these were.

    Processes that start at the same time share the work. What is stored stays when one is killed.

    Args:
        items: with the paths of "image" and "label".
        transform: flat; from its first random transform on it is applied when a case is read.
        threads: that preprocess.

    Raises:
        OutputError: a case cannot be stored.
        DatasetError: or another error of ours, as the preprocessing raises it.
    """
    stages, random = stages_of(transform)
    work = _Work(items, stages, cache)
    with (
        Progress(len(items), "preparing cases") as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            busy = [n for n in pool.map(work.try_now, range(len(items))) if _told(n, progress)]
            for _ in pool.map(work.wait_for, busy):
                progress.advance()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return StoredCases(items, work.parts, random), work.made


class _Work:
    """The cases on their way, one or another in each thread."""

    def __init__(
        self, items: Sequence[Mapping[str, Any]], stages: Sequence[Compose], cache: CaseCache
    ) -> None:
        self.items, self.stages, self.cache = items, stages, cache
        self.parts: list[list[StoredCase]] = [[] for _ in items]
        self.made = 0
        self._settings = [settings_of(stage.transforms) for stage in stages]
        self._count = threading.Lock()

    def try_now(self, index: int) -> int | None:
        """Store a case unless another process is at it; then its number."""
        try:
            self._store(index, wait=False)
        except BusyError:
            return index
        return None

    def wait_for(self, index: int) -> None:
        """Store a case, or have the process that is at it do so."""
        self._store(index, wait=True)

    def _store(self, index: int, *, wait: bool) -> None:
        item = self.items[index]
        key = ""
        parts: list[StoredCase] = []
        for stage, settings in zip(self.stages, self._settings, strict=True):
            if key:
                key = hashed([key, settings])
            else:
                key = case_key(item, self.cache.content_of, settings)
            found, made = self.cache.get(key), False
            if found is None:
                found, made = self.cache.store(
                    key,
                    lambda stage=stage: _made(_so_far(item, parts), stage),  # type: ignore[misc]
                    about=_about(item, adds=bool(parts)),
                    wait=wait,
                )
            parts.append(found)
            if made:
                with self._count:
                    self.made += len(parts) == 1
        self.parts[index] = parts


def stages_of(transform: Compose) -> tuple[list[Compose], Compose | None]:
    """What is stored, in one or two parts, and what is done when a case is read.

    What only adds to a case is stored by itself, so that validations share the rest.
    """
    transforms = list(transform.transforms)
    first = first_random(transform)
    fixed = transforms if first is None else transforms[:first]
    random = None if first is None else Compose(transforms[first:])
    split = len(fixed)
    while split and getattr(fixed[split - 1], "only_adds", False):
        split -= 1
    return [Compose(part) for part in (fixed[:split], fixed[split:]) if part], random


def first_random(transform: Compose) -> int | None:
    """The place of the first transform that MONAI's CacheDataset would not cache."""
    found: int | None = transform.get_index_of_first(
        lambda one: isinstance(one, RandomizableTrait) or not isinstance(one, Transform)
    )
    return found


def _so_far(item: Mapping[str, Any], parts: Sequence[StoredCase]) -> dict[str, Any]:
    return StoredCases([item], [parts]).opened(0, ())


def _made(before: Mapping[str, Any], stage: Compose) -> dict[str, Any]:
    """What a stage makes of a case: the names of its items, and those that are new."""
    after = stage(dict(before), threading=True)
    new = {name: value for name, value in after.items() if value is not before.get(name, _NONE)}
    whole: Any = convert_to_contiguous(new, memory_format=torch.contiguous_format)
    held = {name: _without_path(to_held(value), before.get(name)) for name, value in whole.items()}
    return {"names": list(after), "new": held}


def _without_path(value: Any, source: Any) -> Any:
    """A held tensor without the path it was read from, which may be another one the next time."""
    path = _path(source)
    if not isinstance(value, Held) or path is None or value.kind != "volume":
        return value
    meta = value.parts["meta"]
    if meta.get(_FILE) != path:
        return value
    return replace(value, parts={**value.parts, "meta": {**meta, _FILE: None}})


def _with_path(value: Any, source: Any) -> Any:
    if isinstance(value, MetaTensor) and value.meta.get(_FILE, "") is None:
        value.meta[_FILE] = _path(source)
    return value


def _about(item: Mapping[str, Any], *, adds: bool) -> dict[str, Any]:
    path = _path(item.get("image"))
    image = None if path is None else os.path.abspath(path)
    return {"id": str(item.get("id", "")), "image": image, "adds": adds}


def _path(source: Any) -> str | None:
    paths = paths_of(source)
    return str(Path(paths[0])) if paths else None


def _with_stage(
    before: Mapping[str, Any], stored: StoredCase, in_parts: Sequence[str]
) -> dict[str, Any]:
    found = stored.open()
    new = found["new"]
    case = {}
    for name in found["names"]:
        source = before.get(name)
        if name in new:
            value = from_held(new[name], whole=name not in in_parts)
            case[name] = _with_path(value, source)
        else:
            case[name] = source
    return case


def _is_large(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_large, value))
    return isinstance(value, torch.Tensor) and value.numel() > _LARGE


def _told(busy: int | None, progress: Progress) -> bool:
    if busy is None:
        progress.advance()
    return busy is not None
