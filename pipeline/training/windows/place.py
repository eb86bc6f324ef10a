"""Whether a training's cases are kept in memory or on disk: how large they are, what is free."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....data.errors import GridgateError
from ....data.images.reading import read_grid
from ....transforms.labels import ClassIndicesd
from ....transforms.load import LoadCased
from ....transforms.resample import ToNetworkGridd, network_grid
from .key import paths_of

_SHARE = 0.25  # of the free memory that cases may take: the training itself needs some, too
_UNKNOWN_GB = 4.0  # taken to be free where the system does not say
_CGROUPS = (  # limit, what is used, and where it says what of that is files' pages
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
     "total_inactive_file"),
)  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What cases take in memory once they are preprocessed.

    Attributes:
        total: bytes of all.
        largest: bytes of the largest one, with what reading and preprocessing it takes.
    """

    total: int
    largest: int


def needed(items: Iterable[Mapping[str, Any]], transforms: Iterable[Any]) -> Need:
    """What the cases will take, from the headers of their files.

    A file that cannot be read counts as nothing: that is told when it is.
    """
    transforms = list(transforms)
    grid = next((one for one in transforms if isinstance(one, ToNetworkGridd)), None)
    load = next((one for one in transforms if isinstance(one, LoadCased)), None)
    lists = [one for one in transforms if isinstance(one, ClassIndicesd)]
    indices = sum(8 * one.label_count * one.max_samples_per_class for one in lists)
    channels = load.channels if load is not None else 1
    total = largest = 0
    for item in items:
        paths = paths_of(item.get("image"))
        if paths is None:
            continue
        with suppress(GridgateError):
            scan = read_grid(paths[0])
            target = scan
            if grid is not None:
                target = network_grid(scan, orientation=grid.orientation, spacing=grid.spacing)
            kept = _voxels(target.shape) * 4 * (channels + ("label" in item)) + indices
            total += kept
            # as it is read, of up to 4 bytes a voxel, twice; and the result with temporary copies
            largest = max(largest, 2 * _voxels(scan.shape) * 4 * channels + 3 * kept)
    return Need(total, largest)


def fits(need: Need, free: int) -> bool:
    """Whether the cases surely fit into the memory that is free, shared by so many processes."""
    with suppress(ValueError):  # torchrun's, whose processes each hold their cases
        free //= max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    return need.total <= free * _SHARE


def free_memory() -> int:
    """Bytes that can be had without swapping, also within a container's limit."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    for names in _CGROUPS:
        with suppress(OSError, ValueError):
            found.append(_free_in_group(Path("/sys/fs/cgroup"), names))
    if not found:
        with suppress(AttributeError, ValueError, OSError):
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return min(found, default=int(_UNKNOWN_GB * 1e9))


def _free_in_group(root: Path, names: tuple[str, str, str, str]) -> int:
    limit, used, stat, pages = names
    most = int((root / limit).read_text(encoding="utf-8"))  # "max" is no number: no limit
    taken = int((root / used).read_text(encoding="utf-8"))
    for line in (root / stat).read_text(encoding="utf-8").splitlines():
        if line.split()[0] == pages:
            taken -= int(line.split()[1])
    return max(most - taken, 0)


def _voxels(shape: Iterable[int]) -> int:
    return int(np.prod(tuple(shape), dtype=np.int64))
