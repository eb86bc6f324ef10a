"""Loading windows: cut on the device that trains, or by worker processes that share the cases."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ....data.cores import usable_cores
from ....data.errors import ConfigError, GridgateError, user_error

logger = logging.getLogger(__name__)
_MARK = "\0"  # in no message of ours


class WindowLoader(DataLoader[Any]):
    """PyTorch's DataLoader whose workers share the parent's cases, or that needs none.

    Where the cases fit into the memory of a GPU that trains, they are moved there once, and windows
    are cut and changed there, in the training's own process: nothing is pinned or copied, and no
    worker is started. The windows are those that workers would make, but for rounding. When the
    memory runs out, then or later (`leave_device`), workers make the rest.

    Workers are forked, whatever the Python version's default is, unless `multiprocessing_context`
    says otherwise: under "spawn" and "forkserver" all cases in memory would be pickled to each
    worker. Cases on disk are found there by any worker. Where workers cannot be forked (Windows,
    macOS) and cases are in memory, the windows are made in the training's own process.

    Args:
        dataset: such as a WindowDataset, which is loaded before the first window is asked for.
        num_workers: processes, 0 or more; None: 2, or where batches are pinned, which is for a GPU,
            all cores but two, 2 to 12.
        windows_on_device: "auto": on a GPU, where the cases take no more than a share of its free
            memory, see `on_device.SHARE`, but where PyTorch is to be deterministic, as what is free
            is another amount each time; True: on any device, and whatever they take; False: not.
        device: that trains; None is none.
        **options: DataLoader's.

    Raises:
        ConfigError: windows_on_device is something else.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        num_workers: int | None = 0,
        windows_on_device: Literal["auto"] | bool = False,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> None:
        if windows_on_device not in ("auto", True, False):
            raise ConfigError(f"windows_on_device {windows_on_device!r}: use auto, true or false")
        if num_workers is None:
            free = usable_cores() - 2 if options.get("pin_memory") else 0
            num_workers = min(max(free, 2), 12)
        if num_workers:
            options.setdefault("multiprocessing_context", "fork" if can_fork() else "spawn")
        else:
            options |= {"multiprocessing_context": None, "persistent_workers": False}
        # PyTorch draws a seed for workers when they start; what else an epoch draws is to be the
        # same with new ones, with old ones and without
        options.setdefault("generator", torch.Generator())
        super().__init__(dataset, num_workers=num_workers, **options)
        self.windows_on_device = windows_on_device
        self.device = None if device is None else torch.device(device)
        self._asked = False
        self._rest: WindowLoader | None = None
        self._latest: weakref.ref[Any] | None = None

    def __iter__(self) -> Any:
        if self._settles_on_device():
            yield from self._from_device()
            return
        self._settle_workers()
        iterator = super().__iter__()
        self._latest = weakref.ref(iterator)
        try:
            yield from iterator
        except GridgateError as error:
            known = _from_worker(error)
            if known is error:
                raise
            raise known from None

    @property
    def is_on_device(self) -> bool:
        """Whether the cases are on the device now."""
        return bool(getattr(self.dataset, "on_device", False))

    def _settles_on_device(self) -> bool:
        """Move the cases where that is wanted and was not asked before; whether they are there."""
        wanted, device = self.windows_on_device, self.device
        move = getattr(self.dataset, "move_to", None)
        if self._asked or wanted is False or device is None or move is None:
            return self.is_on_device
        self._asked = True
        if self.batch_sampler is None or (wanted == "auto" and device.type != "cuda"):
            return False
        if wanted == "auto" and torch.are_deterministic_algorithms_enabled():
            logger.info(
                f"windows are not cut on {device}: a deterministic training does not depend on "
                "what is free there (--windows_on_device True: in any case)"
            )
            return False
        return bool(move(device) if wanted == "auto" else move(device, share=None))

    def _from_device(self) -> Iterator[Any]:
        batches = iter(self.batch_sampler)  # type: ignore[arg-type]
        for keys in batches:
            batch = self._cut(keys)
            if batch is None:
                yield from self._by_workers([keys, *batches])
                return
            yield batch

    def _cut(self, keys: Sequence[int]) -> Any:
        """A batch on the device; None where the cases are not there any more."""
        if not self.is_on_device:
            return None
        with suppress(torch.OutOfMemoryError):
            return self.collate_fn([self.dataset[key] for key in keys])
        self.leave_device()
        return None

    def leave_device(self) -> bool:
        """Have workers make all further windows, and free the device of the cases.

        Returns:
            Whether they were there.
        """
        leave = getattr(self.dataset, "leave_device", None)
        if leave is None or not leave():
            return False
        logger.warning(
            f"the memory of {self.device} ran out: windows are made by worker processes from now "
            "on (--windows_on_device False: from the start)"
        )
        return True

    def _by_workers(self, batches: list[Any]) -> Iterator[Any]:
        """The rest of an epoch."""
        self._rest = WindowLoader(
            self.dataset,
            batch_sampler=batches,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            pin_memory=self.pin_memory,
        )
        yield from self._rest
        self._rest.close()

    def _settle_workers(self) -> None:
        """No workers where each would be sent a copy of all cases."""
        context: Any = self.multiprocessing_context
        if not self.num_workers or context.get_start_method() == "fork":
            return
        load = getattr(self.dataset, "load", None)
        if load is not None:
            load()
        if not getattr(self.dataset, "on_disk", False):
            logger.warning(
                f"num_workers {self.num_workers}: worker processes that are not forked cannot "
                "share cases in memory; windows are made in the training's own process, or give "
                "a --cache_dir"
            )
            self.num_workers, self.multiprocessing_context = 0, None

    def close(self) -> None:
        """End the worker processes and the thread that pins memory; free a device of the cases."""
        if self._rest is not None:
            self._rest.close()
        if self.windows_on_device is not False and hasattr(self.dataset, "leave_device"):
            self.dataset.leave_device()
        self._asked, self._rest = False, None
        end_workers(self._latest() if self._latest is not None else None)
        self._latest = self._iterator = None


def can_fork() -> bool:
    """Whether worker processes can be forked safely: not on Windows, nor on macOS."""
    return "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


def end_workers(iterator: Any) -> None:
    """End the workers behind a DataLoader's iterator; nothing for one without workers."""
    shutdown = getattr(iterator, "_shutdown_workers", None)
    if shutdown is not None:
        shutdown()


@contextmanager
def readable_in_parent() -> Iterator[None]:
    """In a worker process: an error of ours reaches the parent with its own text.

    PyTorch hands a worker's error on as its type and the text of its traceback, without its cause.
    """
    try:
        yield
    except Exception as error:
        known = user_error(error)
        if known is None or get_worker_info() is None:
            raise
        text = str(known).strip(_MARK)
        raise type(known)(f"{_MARK}{text}{_MARK}") from error


def _from_worker(error: GridgateError) -> GridgateError:
    """The error as the worker raised it, or the error itself where no worker did."""
    parts = str(error).split(_MARK)
    return type(error)(parts[1]) if len(parts) >= 3 else error
