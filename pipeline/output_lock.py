"""One run at a time in an output folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..data.errors import ConfigError, OutputError

_NAME = ".gridgate.lock"


@contextmanager
def output_folder(folder: str | Path) -> Iterator[Path]:
    """The folder, made if need be, held for this run alone, and without what a killed run left half-written.

    The lock is the kernel's (flock): it is gone when the process is, however it ended.

    Raises:
        ConfigError: another run is writing there.
        OutputError: the folder cannot be made or written.
    """
    folder = Path(folder)
    path = folder / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path)
    except BlockingIOError:
        raise ConfigError(
            f"{folder}: another run is writing there; wait for it, or give another folder"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write here ({error.strerror}); give another --output_dir"
        ) from error
    try:
        _remove_partials(folder)
        try:
            yield folder
        finally:
            _remove_partials(folder)  # of workers that were killed
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _remove_partials(folder: Path) -> None:
    """Delete half-written files, but for those in folders where another run is writing."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(place) / name / _NAME).exists()]
        for name in files:
            if name.startswith(".") and name.endswith(".partial"):
                with suppress(OSError):
                    (Path(place) / name).unlink()


def _locked(path: Path) -> int:
    """A descriptor of the lock file that holds its lock, or BlockingIOError."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            return descriptor  # a file system without locks
        with suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(
            descriptor
        )  # the run before has just removed it: what was locked has no name any more
