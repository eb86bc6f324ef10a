"""Training windows: which one is drawn depends on the seed and its running number alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.utils.data import DistributedSampler, Sampler

from ....data.sizes import bytes_in_words
from .cases import CachedCases
from .loading import readable_in_parent
from .on_device import SHARE, CasesOnDevice, bytes_on_device, free_on
from .stored import StoredCases, first_random

logger = logging.getLogger(__name__)


class WindowDataset(CachedCases):
    """Augmented training windows, drawn from preprocessed cases.

    A window's key is its running number in the whole training. Case order and every random choice
    are derived from (seed, key), so a window is the same whatever the number of workers or GPUs,
    and whether or not the run was interrupted before: that is what makes resuming exact.

    Beside "image" and "label" a window has "annotated", as the case has it, and "ignores": whether
    it holds voxels that do not count (-1 in its label); both are on the CPU.

    Cases may be moved to a device (`move_to`): windows are then cut there, and are the same.

    Args:
        augmentation: the random part, from a whole case to one window {"image": (C, *roi), "label":
            (1, *roi)}; with a method `set_random_state(seed=...)`.
        seed: any integer >= 0.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        *,
        transform: Callable[[Any], Any],
        augmentation: Any,
        seed: int = 0,
        cache_dir: str | PathLike[str] | None = None,
        num_workers: int = 2,
    ) -> None:
        super().__init__(data, transform=transform, cache_dir=cache_dir, num_workers=num_workers)
        self.augmentation = augmentation
        self.seed = seed
        self._on_device: CasesOnDevice | None = None

    def __getitem__(self, key: int) -> dict[str, Any]:
        turn, place = divmod(key, len(self.data))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.data))
        case = self._case(int(order[place]))
        draw = int(np.random.SeedSequence([self.seed, key]).generate_state(1)[0])
        self.augmentation.set_random_state(seed=draw)
        with readable_in_parent():
            window = self.augmentation(case)
        made = {name: _plain(window[name]) for name in ("image", "label")}
        if "annotated" in case:
            # of the window, where the augmentation tells: a mirrored one has the other side's
            made["annotated"] = torch.as_tensor(window.get("annotated", case["annotated"]))
            # a device is waited for where a case has such voxels, and no other
            some = case.get("ignores", True) and bool((made["label"] < 0).any())
            made["ignores"] = torch.tensor(some)
        return made

    def move_to(self, device: torch.device, *, share: float | None = SHARE) -> bool:
        """Load the cases and keep them on a device too, where windows are cut from now on.

        Args:
            share: of the device's free memory that they may take; None: as much as they need.

        Returns:
            Whether they are there; the log says why, or why not.
        """
        cases, names = self.load(), self._read_in_parts()
        if not names or not _is_fixed(cases):
            logger.info(
                f"windows are not cut on {device}: the augmentation wants whole cases, or a part "
                "of the preprocessing is random"
            )
            return False
        need = bytes_on_device(map(self._case, range(len(self.data))), names)
        free = free_on(device)
        sizes = f"{bytes_in_words(need)}, of {bytes_in_words(free)} that are free there"
        if share is not None and need > share * free:
            logger.info(f"windows are not cut on {device}: its cases would take {sizes}")
            return False
        try:
            self._on_device = CasesOnDevice(map(self._case, range(len(self.data))), names, device)
        except torch.OutOfMemoryError:
            logger.warning(f"windows are not cut on {device}: its memory ran out, {sizes}")
        if self._on_device is None:  # not in the handler, whose traceback holds what was moved
            _give_back(device)
            return False
        logger.info(f"windows are cut on {device}: its cases take {sizes}")
        return True

    @property
    def on_device(self) -> bool:
        """Whether the cases are on the device that they were moved to."""
        return self._on_device is not None

    def leave_device(self) -> bool:
        """Take the cases off their device, and whether they were on one."""
        if self._on_device is None:
            return False
        device, self._on_device = self._on_device.device, None
        _give_back(device)
        return True

    def _case(self, index: int) -> dict[str, Any]:
        """A case; one on disk is left there where the augmentation reads a window's box alone."""
        if self._on_device is not None:
            case: dict[str, Any] = self._on_device[index]
            return case
        with readable_in_parent():
            cases = self.load()
            if isinstance(cases, StoredCases) and cases.reads_parts:
                return cases.opened(index, self._read_in_parts())
        return super().__getitem__(index)

    def _read_in_parts(self) -> tuple[str, ...]:
        """What of a case the augmentation, or the first transform of it, reads box by box."""
        first, *_ = getattr(self.augmentation, "transforms", None) or (self.augmentation,)
        return tuple(getattr(first, "reads_parts", ()))


def _plain(value: Any) -> torch.Tensor:
    """A contiguous tensor without meta, where it is."""
    if isinstance(value, MetaTensor):
        value = value.as_tensor()
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(np.ascontiguousarray(value))
    return value.contiguous()


def _is_fixed(cases: Any) -> bool:
    """Whether a case is the same each time that it is read."""
    if isinstance(cases, StoredCases):
        return cases.reads_parts
    return first_random(cases.transform) is None


def _give_back(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


class WindowSampler(DistributedSampler[int]):
    """The keys of an epoch's windows, shared between the processes of a multi-GPU run.

    A DistributedSampler in name only: MONAI's workflow calls `set_epoch` on those at the start of
    each epoch.

    Args:
        windows_per_epoch: windows that one epoch draws over all processes.
    """

    def __init__(self, windows_per_epoch: int, *, rank: int = 0, world_size: int = 1) -> None:
        Sampler.__init__(self)
        self.windows_per_epoch = windows_per_epoch
        self.rank = rank
        self.world_size = world_size
        self.epoch = 1

    def __iter__(self) -> Iterator[int]:
        first = (self.epoch - 1) * self.windows_per_epoch
        return iter(range(first + self.rank, first + self.windows_per_epoch, self.world_size))

    def __len__(self) -> int:
        return len(range(self.rank, self.windows_per_epoch, self.world_size))
