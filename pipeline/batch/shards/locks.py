"""The locks that shards hold while they run: who is at work, also on other machines."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from .shard import Shard


def lock_of(records: Path, number: int, count: int) -> Path:
    """The lock that a shard holds while it runs."""
    return records / f"{Shard(number, count).name}.lock"


def tried(path: Path) -> FileLock | None:
    """A lock, taken; None where somebody holds it."""
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, RuntimeError):  # RuntimeError: held in this very thread
        return None
    return lock


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock; at the gate, as it is taken for a moment."""
    if not path.exists():
        return False
    lock = tried(path)
    if lock is not None:
        lock.release()
    return lock is None


def any_running(records: Path) -> bool:
    """Whether any shard of any run is at work; at the gate."""
    return any(is_locked(path) for path in sorted(records.glob("*-of-*.lock")))
