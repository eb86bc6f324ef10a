"""Loading windows by worker processes that share the cached cases and report errors readably."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info

from ....data.cores import usable_cores
from ....data.errors import GridgateError, user_error

logger = logging.getLogger(__name__)
_MARK = "\0"  # in no message of ours


class WindowLoader(DataLoader[Any]):
    """PyTorch's DataLoader whose workers share the parent's memory.

    Workers are forked, whatever the Python version's default is: under "spawn" and "forkserver"
    all cached cases would be pickled to each worker. Where forking is not safe (Windows, macOS)
    the windows are made in the training's own process.

    Args:
        dataset: such as a WindowDataset; loaded before the first window is asked for.
        num_workers: processes, 0 or more; None: 2, or where batches are pinned, which is for a GPU,
            all cores but two, 2 to 12.
        **options: DataLoader's.
    """

    def __init__(
        self, dataset: Dataset[Any], *, num_workers: int | None = 0, **options: Any
    ) -> None:
        if num_workers is None:
            free = usable_cores() - 2 if options.get("pin_memory") else 0
            num_workers = min(max(free, 2), 12)
        if num_workers and not can_fork():
            logger.warning(
                f"num_workers {num_workers}: worker processes cannot share the cases on this "
                "system; windows are made in the training's own process"
            )
            num_workers = 0
        if num_workers:
            options.setdefault("multiprocessing_context", "fork")
        else:
            options |= {"multiprocessing_context": None, "persistent_workers": False}
        super().__init__(dataset, num_workers=num_workers, **options)
        self._latest: weakref.ref[Any] | None = None

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        self._latest = weakref.ref(iterator)
        try:
            yield from iterator
        except GridgateError as error:
            known = _from_worker(error)
            if known is error:
                raise
            raise known from None

    def close(self) -> None:
        """End the worker processes and the thread that pins memory, and wait for them."""
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
