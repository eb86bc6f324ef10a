"""An output folder: one run at a time, and a manifest of the files that Gridgate wrote there."""

from __future__ import annotations

import json
import logging
import os
import stat
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from .errors import ConfigError, OutputError
from .files import is_temporary, path_inside, write_atomically

logger = logging.getLogger(__name__)

PRIVATE = ".gridgate"
"""The sub-folder that holds the lock and the manifest."""
_CLOCK_SECONDS = 2.0  # what file systems round times to, FAT the most coarsely

Mark = tuple[int, int] | None
"""Size in bytes and time of change in ns of a file as it was written; None: of any content."""


class OutputFolder:
    """A folder of results, and which of its files Gridgate wrote.

    As a context manager it makes the folder, holds its lock and removes what a killed run left
    half-written; it may be entered again by whoever already holds it. A worker process, or a
    transform in another tool, writes without entering: the lock is its parent's.

    A file counts as Gridgate's while it is as Gridgate wrote it: a mask that a person has corrected
    since is that person's, and is neither replaced nor removed.

    The manifest is `.gridgate/manifest.json`, relative path -> [size, mtime_ns]; what has been
    written since it was last put together stands in `.gridgate/journal-*.jsonl`, one per process,
    a line before each file appears. A run that is killed at any moment forgets none of its files.

    Args:
        folder: made on entering, or by the first file that is written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with OutputFolder(folder) as output:
        ...     _ = output.write("case.nii.gz", lambda stream: stream.write(b"a mask"))
        >>> OutputFolder(folder).owns("case.nii.gz")
        True
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._marks: dict[str, set[Mark]] = {}
        self._read: dict[str, int] = {}  # bytes of each journal that were read
        self._manifest: tuple[int, int] | None = None  # as it was read
        self._journal: tuple[int, Path] | None = None  # process id, and where it writes
        self._entered = 0
        self._lock: FileLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which finds the manifest in the folder and has no lock."""
        return {**self.__dict__, "_journal": None, "_entered": 0, "_lock": None}

    @property
    def is_new(self) -> bool:
        """Whether there is no manifest: no run, or one of an earlier version, has written there."""
        return not self._manifest_path.exists() and not list(self._journals())

    def __enter__(self) -> OutputFolder:
        """Take the lock.

        Raises:
            ConfigError: another run is writing there.
            OutputError: the folder cannot be made or written.
        """
        if not self._entered:
            self._lock = self._locked()
            self._entered = 1
            try:
                self._tidy_up()
            except BaseException:
                self._entered = 0
                self._release()
                raise
            return self
        self._entered += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if self._entered:
            return
        try:
            self._tidy_up()
        except OutputError:
            if kind is None:
                raise
        finally:
            self._release()

    def path(self, relative: str | Path) -> Path:
        """The path of a file in this folder.

        Raises:
            OutputError: it leads out of the folder, or is among Gridgate's own records.
        """
        path = path_inside(self.folder, relative)
        if self._key(relative).split("/")[0].lower() == PRIVATE:
            raise OutputError(
                f"{path}: {PRIVATE} holds Gridgate's own records; give the case another id"
            )
        return path

    def write(self, relative: str | Path, write: Callable[[BinaryIO], object]) -> Path:
        """Write a file that appears complete or not at all, and enter it in the manifest.

        Args:
            relative: path in this folder; its folders are made.
            write: writes the content to the binary stream it is given.

        Returns:
            The file's path.

        Raises:
            OutputError: a file that Gridgate did not write is in its place, or the system refuses.
        """
        path = self.path(relative)
        self.refuse_foreign([relative])

        def note(status: os.stat_result) -> None:
            self._note(relative, (status.st_size, status.st_mtime_ns))

        write_atomically(path, write, before_rename=note)
        return path

    def record(self, relative: str | Path, *, any_content: bool = False) -> None:
        """Enter a file that another library has written, such as TensorBoard's events.

        Args:
            any_content: it stays Gridgate's whatever becomes of its content: a table that grows.

        Raises:
            OutputError: the manifest cannot be written.
        """
        path = self.path(relative)
        if any_content:
            if None not in self._marks_of(relative):
                self._note(relative, None)
        elif (found := _mark(path)) is not None:
            self._note(relative, found)

    def owns(self, relative: str | Path) -> bool:
        """Whether there is a file that Gridgate wrote, unchanged since."""
        found = _mark(self.path(relative))
        if found is None:
            return False
        return any(_matches(mark, found) for mark in self._marks_of(relative))

    def refuse_foreign(self, relatives: Iterable[str | Path]) -> None:
        """Refuse to go on where a file that Gridgate did not write is in the place of a result.

        Raises:
            OutputError: there is one; the text names the first, and how many there are.
        """
        foreign = [
            name for name in relatives if os.path.lexists(self.path(name)) and not self.owns(name)
        ]
        if foreign:
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise OutputError(
                f"{self.path(foreign[0])}{more}: this file was not written by Gridgate, or was "
                "changed since, and would be overwritten; move it away, or give another "
                "--output_dir"
            )

    def remove(self, relative: str | Path) -> bool:
        """Remove a file if Gridgate wrote it; whether it was removed.

        Raises:
            OutputError: the system refuses.
        """
        if not self.owns(relative):
            return False
        path = self.path(relative)
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(
                f"{path}: an earlier run's file cannot be removed ({error.strerror}); remove it "
                "yourself, or give another --output_dir"
            ) from error
        return True

    @property
    def _private(self) -> Path:
        return self.folder / PRIVATE

    @property
    def _manifest_path(self) -> Path:
        return self._private / "manifest.json"

    def _journals(self) -> Iterable[Path]:
        return sorted(self._private.glob("journal-*.jsonl"))

    @staticmethod
    def _key(relative: str | Path) -> str:
        return Path(relative).as_posix()

    def _locked(self) -> FileLock | None:
        """The lock, taken; None on a file system that has no locks."""
        path = self._private / "lock"
        try:
            self._private.mkdir(parents=True, exist_ok=True)
            with open(path, "ab"):
                pass
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot write here ({error.strerror}); give another --output_dir"
            ) from error
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, RuntimeError) as error:  # RuntimeError: held in this very thread
            if isinstance(error, NotImplementedError):
                self._warn_of_no_lock(error)
                return None
            raise ConfigError(
                f"{self.folder}: another run is writing there; wait for it, or give another folder"
            ) from None
        except OSError as error:
            self._warn_of_no_lock(error)
            return None
        return lock

    def _warn_of_no_lock(self, error: Exception) -> None:
        logger.warning(
            f"{self.folder}: this file system has no locks ({error}); take care that no other run "
            "writes there"
        )

    def _release(self) -> None:
        """Give the lock back; a run that has written nothing leaves no records behind."""
        lock, self._lock = self._lock, None
        if self.is_new:  # removed while the lock is held: whoever waits for it makes a new one
            with suppress(OSError):
                (self._private / "lock").unlink()
                self._private.rmdir()
        if lock is not None:
            with suppress(OSError):
                lock.release()

    def _tidy_up(self) -> None:
        """Remove half-written files, and put manifest and journals together."""
        for place, folders, files in os.walk(self.folder):
            if Path(place) != self.folder and PRIVATE in folders:
                folders.clear()  # another run's folder
                continue
            for name in filter(is_temporary, files):
                with suppress(OSError):
                    (Path(place) / name).unlink()
        journals = list(self._journals())
        if not journals:
            return
        self._refresh()
        kept: dict[str, Mark] = {}
        for name, marks in self._marks.items():
            found = _mark(self.folder / name)
            if found is not None and any(_matches(mark, found) for mark in marks):
                kept[name] = None if None in marks else found
        content = json.dumps({"version": 1, "files": kept}, indent=0).encode()
        write_atomically(self._manifest_path, lambda stream: stream.write(content))
        for journal in journals:
            with suppress(OSError):
                journal.unlink()

    def _marks_of(self, relative: str | Path) -> set[Mark]:
        self._refresh()
        return self._marks.get(self._key(relative), set())

    def _note(self, relative: str | Path, mark: Mark) -> None:
        """Append a line to this process's journal."""
        if (
            self._journal is None
            or self._journal[0] != os.getpid()
            or not self._journal[1].exists()
        ):
            # a name is never used twice, so that readers know what they have read
            name = f"journal-{uuid.uuid4().hex[:12]}.jsonl"
            self._journal = os.getpid(), self._private / name
        path = self._journal[1]
        line = json.dumps([self._key(relative), mark]) + "\n"
        try:
            self._private.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as stream:
                stream.write(line.encode())
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); free space or give another "
                "--output_dir"
            ) from error

    def _refresh(self) -> None:
        """Read what this and other processes have written down since the last time."""
        with suppress(FileNotFoundError):
            status = os.stat(self._manifest_path)
            if (version := (status.st_mtime_ns, status.st_ino)) != self._manifest:
                self._manifest = version
                for name, mark in self._read_manifest().items():
                    self._marks.setdefault(name, set()).add(_as_mark(mark))
        for journal in self._journals():
            done = self._read.get(journal.name, 0)
            with suppress(FileNotFoundError), open(journal, "rb") as stream:
                stream.seek(done)
                lines = stream.read()
                lines = lines[: lines.rfind(b"\n") + 1]  # a torn last line is no entry
                self._read[journal.name] = done + len(lines)
                for line in lines.splitlines():
                    with suppress(ValueError, TypeError):
                        name, mark = json.loads(line)
                        self._marks.setdefault(str(name), set()).add(_as_mark(mark))

    def _read_manifest(self) -> dict[str, list[int] | None]:
        try:
            files = json.loads(self._manifest_path.read_bytes())["files"]
            return {str(name): mark for name, mark in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{self._manifest_path}: cannot be read ({error}), so it is not known which files "
                "here are Gridgate's; give another --output_dir"
            ) from error


def _mark(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a regular file; None where there is none."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _as_mark(value: list[int] | None) -> Mark:
    return None if value is None else (int(value[0]), int(value[1]))


def _matches(mark: Mark, found: tuple[int, int]) -> bool:
    if mark is None:
        return True
    return mark[0] == found[0] and abs(mark[1] - found[1]) <= _CLOCK_SECONDS * 1e9
