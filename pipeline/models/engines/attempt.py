"""Trying engines on a network: one process at a time, and not again where that ends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

_FOLDER = "tried"
_MOST = 2  # processes that ended meanwhile: one may have been stopped, or have had its time


class Standing(Enum):
    """Whether engines may be tried now."""

    FREE = "free"
    BUSY = "another process is trying"
    ENDED = "processes ended while they tried"


@contextmanager
def attempt(folder: Path | None, key: str) -> Iterator[Standing]:
    """What another process has to know of this one's attempt, for as long as it lasts.

    The lock is the system's and ends with its process; the count of attempts that did not come to
    an end stays.

    Args:
        folder: of the engines; None, or one that cannot be written: nothing is known.
        key: of the network and the machine.

    Example:
        >>> import tempfile
        >>> with attempt(Path(tempfile.mkdtemp()), "net") as standing:
        ...     standing
        <Standing.FREE: 'free'>
    """
    if folder is None:
        yield Standing.FREE
        return
    count = folder / _FOLDER / key
    lock = FileLock(count.with_suffix(".lock"))
    try:
        count.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        yield Standing.BUSY
        return
    except (OSError, NotImplementedError):  # a cache that is only read, or without locks
        yield Standing.FREE
        return
    try:
        begun = _read(count)
        if begun >= _MOST:
            yield Standing.ENDED
            return
        with suppress(OSError):
            count.write_text(str(begun + 1), encoding="utf-8")
        try:
            yield Standing.FREE
        finally:
            with suppress(OSError):
                count.unlink()
    finally:
        lock.release()


def _read(count: Path) -> int:
    try:
        return int(count.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
