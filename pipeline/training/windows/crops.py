"""Training windows: which one is drawn depends on the seed and its running number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch.utils.data import DistributedSampler, Sampler

from .cases import CachedCases
from .loading import readable_in_parent
from .stored import StoredCases


class WindowDataset(CachedCases):
    """Augmented training windows, drawn from preprocessed cases.

    A window's key is its running number in the whole training. Case order and every random choice
    are derived from (seed, key), so a window is the same whatever the number of workers or GPUs,
    and whether or not the run was interrupted before: that is what makes resuming exact.

    Beside "image" and "label" a window has "annotated", as the case has it, and "ignores": whether
    it holds voxels that do not count (-1 in its label).

    Args:
        augmentation: the random part, from a whole case to one window {"image": (C, *roi), "label":
            (1, *roi)}.
        seed: any integer >= 0.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        *,
        transform: Callable[[Any], Any],
        augmentation: Compose,
        seed: int = 0,
        cache_dir: str | PathLike[str] | None = None,
        num_workers: int = 2,
    ) -> None:
        super().__init__(data, transform=transform, cache_dir=cache_dir, num_workers=num_workers)
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, key: int) -> dict[str, Any]:
        turn, place = divmod(key, len(self.data))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.data))
        case = self._case(int(order[place]))
        draw = int(np.random.SeedSequence([self.seed, key]).generate_state(1)[0])
        self.augmentation.set_random_state(seed=draw)
        with readable_in_parent():
            window = self.augmentation(case)
        made = {
            name: torch.as_tensor(np.ascontiguousarray(window[name])) for name in ("image", "label")
        }
        if "annotated" in case:
            made["annotated"] = torch.as_tensor(case["annotated"])
            made["ignores"] = (made["label"] < 0).any()
        return made

    def _case(self, index: int) -> dict[str, Any]:
        """A case; one on disk is left there where the augmentation reads a window's box alone."""
        with readable_in_parent():
            cases = self.load()
            first, *_ = getattr(self.augmentation, "transforms", None) or (None,)
            if isinstance(cases, StoredCases) and cases.reads_parts:
                return cases.opened(index, getattr(first, "reads_parts", ()))
        return super().__getitem__(index)


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
