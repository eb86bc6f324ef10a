"""An output folder: one run at a time, and a manifest of the files that Gridgate wrote there."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

from filelock import FileLock, Timeout

from .errors import ConfigError, OutputError
from .files import is_temporary, path_inside, temporary_name, write_atomically
from .manifest import Manifest, mark_of

logger = logging.getLogger(__name__)

_MAY_FALL_BACK = "fallback_to_soft" in signature(FileLock.__init__).parameters
PRIVATE = ".gridgate"
"""The sub-folder that holds the lock and the manifest."""


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> object:
        """Give it back."""


class OutputFolder:
    """A folder of results, and which of its files Gridgate wrote.

    As a context manager it makes the folder, holds its lock and removes what a killed run left
    half-written; it may be entered again by whoever already holds it. A worker process, or a
    transform in another tool, writes without entering: the lock is its parent's.

    A file counts as Gridgate's while it is as Gridgate wrote it: a mask that a person has corrected
    since is that person's, and is neither replaced nor removed.

    The record is in `.gridgate/`, see Manifest. A run that is killed at any moment forgets none of
    its files.

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

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._private = self.folder / PRIVATE
        self.manifest = Manifest(self.folder, self._private)
        self._entered = 0
        self._lock: Held | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which finds the manifest in the folder and has no lock."""
        return {**self.__dict__, "_entered": 0, "_lock": None}

    @property
    def is_new(self) -> bool:
        """Whether there is no manifest: no run, or one of an earlier version, has written there."""
        return not self.manifest.exists

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
            self.manifest.enter(self._key(relative), (status.st_size, status.st_mtime_ns))

        write_atomically(path, write, before_rename=note)
        return path

    def link(self, relative: str | Path, target: str | Path) -> Path:
        """Put a symbolic link in a file's place, and enter it in the manifest.

        Args:
            relative: path in this folder; its folders are made.
            target: what it leads to, an absolute path.

        Returns:
            The link's path.

        Raises:
            OutputError: a file that Gridgate did not write is in its place.
            OSError: the file system has no links; nothing is changed.
        """
        path = self.path(relative)
        self.refuse_foreign([relative])
        beside = path.with_name(temporary_name(path.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.symlink(target, beside)
            self.manifest.enter(self._key(relative), mark_of(beside))
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        return path

    def saver(self, relative: str | Path) -> Callable[[Path, Callable[[BinaryIO], object]], object]:
        """`write` of one file, in the form that `write_labels` and others take as `save`."""

        def save(path: Path, write: Callable[[BinaryIO], object]) -> Path:
            return self.write(relative, write)

        return save

    def record(self, relative: str | Path, *, any_content: bool = False) -> None:
        """Enter a file that another library has written, such as TensorBoard's events.

        Args:
            any_content: it stays Gridgate's whatever becomes of its content: a table that grows.

        Raises:
            OutputError: the manifest cannot be written.
        """
        path = self.path(relative)
        if any_content:
            if None not in self.manifest.marks(self._key(relative)):
                self.manifest.enter(self._key(relative), None)
        elif (found := mark_of(path)) is not None:
            self.manifest.enter(self._key(relative), found)

    def owns(self, relative: str | Path) -> bool:
        """Whether there is a file that Gridgate wrote, unchanged since."""
        self.path(relative)  # refuses names that lead elsewhere
        return self.manifest.owns(self._key(relative))

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

    @staticmethod
    def _key(relative: str | Path) -> str:
        return Path(relative).as_posix()

    def _locked(self) -> Held | None:
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
        # not filelock's own way out on file systems without locks: to it, a file that is there is
        # a lock that somebody holds
        more: dict[str, Any] = {"fallback_to_soft": False} if _MAY_FALL_BACK else {}
        lock = FileLock(path, timeout=0, thread_local=False, **more)
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
        self.manifest.put_together()
