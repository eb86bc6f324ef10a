"""A temporary folder for a run's workers, which a killed worker does not remove itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ....data.errors import OutputError

_PREFIX = "gridgate-workers-"
_LOCK = ".lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is removed at the end, as are those of runs that were killed.

    Whose run has ended is told by the lock in it, which the system takes away with the process.

    Raises:
        OutputError: it cannot be made.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: no folder can be made there ({error.strerror}); set TMPDIR "
            "to another folder"
        ) from error
    lock = FileLock(folder / _LOCK, thread_local=False)
    with suppress(OSError, NotImplementedError):  # a file system without locks
        lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            lock.release()
        shutil.rmtree(folder, ignore_errors=True)  # where an open file cannot be removed


def _remove_abandoned(temporary: Path) -> None:
    for folder in temporary.glob(f"{_PREFIX}*"):
        if not (folder / _LOCK).is_file():  # just being made, or by a run that holds no lock
            continue
        lock = FileLock(folder / _LOCK, thread_local=False)
        with suppress(OSError, Timeout, RuntimeError):
            lock.acquire(timeout=0)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.release()
