"""An output folder that several runs of one kind write at a time, each its own files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from .errors import ConfigError, OutputError
from .output_folder import OutputFolder

GATE = "gate"
"""The lock that is held for moments: while one of them comes, goes, or looks who is there."""


class SharedFolder(OutputFolder):
    """An output folder whose lock several hold at a time, and nobody beside them.

    Who enters an OutputFolder is refused while any of them is there, and they are refused while
    that one is. They must write different files. Half-written files and the manifest's journals
    are left alone, see `tidy_up`.

    The lock is the system's (`flock`): it ends with its process, however that ends, and reaches
    other machines where the file system passes locks on, as NFS does, and Lustre mounted with
    `flock`.

    Args:
        folder: made on entering.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with SharedFolder(folder) as one, SharedFolder(folder) as other:
        ...     with OutputFolder(folder):
        ...         pass
        Traceback (most recent call last):
        gridgate.data.errors.ConfigError: ...: another run is writing there; wait for it, or ...
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._gates = 0
        self._gate: FileLock | None = None

    @property
    def records(self) -> Path:
        """Where those who share the folder keep what they tell each other."""
        return self._private / "shards"

    def __getstate__(self) -> dict[str, object]:
        """For a worker process, which holds nothing."""
        return {**super().__getstate__(), "_gates": 0, "_gate": None}

    @contextmanager
    def gate(self) -> Iterator[None]:
        """Wait until none of the others is at the gate; they wait while the block runs.

        Raises:
            OutputError: the folder cannot be written, or its file system has no locks.
        """
        if not self._gates:
            self._gate = self._waited_for()
        self._gates += 1
        try:
            yield
        finally:
            self._gates -= 1
            if not self._gates and self._gate is not None:
                self._gate.release()

    def tidy_up(self) -> None:
        """Remove what killed runs left half-written, and put the manifest together.

        At the gate, by whoever knows that none of the others writes.
        """
        super()._tidy_up()

    def _locked(self) -> SharedLock:
        with self.gate():
            try:
                return SharedLock(self._private / "lock")
            except BlockingIOError:
                raise ConfigError(
                    f"{self.folder}: another run is writing there, which is no shard; wait for it, "
                    "or give another folder"
                ) from None
            except OSError as error:
                raise self._no_locks(error) from error

    def _tidy_up(self) -> None:
        """Not on entering and leaving: others may be writing."""

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _waited_for(self) -> FileLock:
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            gate = FileLock(self.records / f"{GATE}.lock", thread_local=False)
            gate.acquire(poll_interval=0.1)
        except NotImplementedError as error:
            raise self._no_locks(error) from error
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot write here ({error.strerror}); give another --output_dir"
            ) from error
        return gate

    def _no_locks(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.folder}: this file system has no locks ({error}), which shards need to know of "
            "each other; give an --output_dir on another, or run without --shard into a folder of "
            "its own for each part"
        )


class SharedLock:
    """The system's lock of a file, held beside others.

    Args:
        path: made if absent.

    Raises:
        BlockingIOError: somebody holds it alone.
        OSError: there are no such locks here.
    """

    def __init__(self, path: Path) -> None:
        if sys.platform == "win32":
            raise OSError("Windows")
        import fcntl  # not on Windows

        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if _same_file(self._file, path):
                    return
            except OSError:
                os.close(self._file)
                raise
            os.close(self._file)  # it was removed by who held it before

    def release(self) -> None:
        """Give it back."""
        with suppress(OSError):
            os.close(self._file)


def _same_file(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False
