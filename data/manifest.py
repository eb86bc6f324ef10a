"""Which files of a folder Gridgate wrote, in a record that a killed run leaves whole."""

from __future__ import annotations

import json
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import OutputError
from .files import write_atomically

_CLOCK_SECONDS = 2.0  # what file systems round times to, FAT the most coarsely

Mark = tuple[int, int] | None
"""Size in bytes and time of change in ns of a file as it was written; None: of any content."""


class Manifest:
    """The record of an output folder's files.

    `manifest.json` holds relative path -> [size, mtime_ns]; what was written since it was last put
    together stands in `journal-*.jsonl`, one per process, a line before each file appears.

    Args:
        folder: whose files they are.
        records: its sub-folder that holds the record; made when it is needed.
    """

    def __init__(self, folder: Path, records: Path) -> None:
        self.folder, self.records = folder, records
        self.path = records / "manifest.json"
        self._marks: dict[str, set[Mark]] = {}
        self._read: dict[str, int] = {}  # bytes of each journal that were read
        self._version: tuple[int, int] | None = None  # of the manifest as it was read
        self._journal: tuple[int, Path] | None = None  # process id, and where it writes

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which writes a journal of its own."""
        return {**self.__dict__, "_journal": None}

    @property
    def exists(self) -> bool:
        """Whether anything was ever entered."""
        return self.path.exists() or bool(self._journals())

    def owns(self, name: str) -> bool:
        """Whether there is a file that was entered, unchanged since."""
        found = mark_of(self.folder / name)
        return found is not None and any(_matches(mark, found) for mark in self.marks(name))

    def marks(self, name: str) -> set[Mark]:
        """What was entered for a file, by this or another process."""
        self._refresh()
        return self._marks.get(name, set())

    def enter(self, name: str, mark: Mark) -> None:
        """Append a line to this process's journal.

        Raises:
            OutputError: it cannot be written.
        """
        if (
            self._journal is None
            or self._journal[0] != os.getpid()
            or not self._journal[1].exists()
        ):
            # a name is never used twice, so that readers know what they have read
            journal = f"journal-{uuid.uuid4().hex[:12]}.jsonl"
            self._journal = os.getpid(), self.records / journal
        path = self._journal[1]
        line = json.dumps([name, mark]) + "\n"
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as stream:
                stream.write(line.encode())
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); free space or give another "
                "--output_dir"
            ) from error

    def put_together(self) -> None:
        """Write the manifest from what the journals say, for whoever holds the folder's lock.

        Raises:
            OutputError: it cannot be read or written.
        """
        journals = self._journals()
        if not journals:
            return
        self._refresh()
        kept: dict[str, Mark] = {}
        for name, marks in self._marks.items():
            found = mark_of(self.folder / name)
            if found is not None and any(_matches(mark, found) for mark in marks):
                kept[name] = None if None in marks else found
        content = json.dumps({"version": 1, "files": kept}, indent=0).encode()
        write_atomically(self.path, lambda stream: stream.write(content))
        for journal in journals:
            with suppress(OSError):
                journal.unlink()

    def _journals(self) -> list[Path]:
        return sorted(self.records.glob("journal-*.jsonl"))

    def _refresh(self) -> None:
        """Read what this and other processes have written down since the last time."""
        with suppress(FileNotFoundError):
            status = os.stat(self.path)
            if (version := (status.st_mtime_ns, status.st_ino)) != self._version:
                self._version = version
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
            files = json.loads(self.path.read_bytes())["files"]
            return {str(name): mark for name, mark in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{self.path}: cannot be read ({error}), so it is not known which files "
                "here are Gridgate's; give another --output_dir"
            ) from error


def mark_of(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a regular file, or of a link itself; None where there is none."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    ours = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
    return (status.st_size, status.st_mtime_ns) if ours else None


def _as_mark(value: list[int] | None) -> Mark:
    return None if value is None else (int(value[0]), int(value[1]))


def _matches(mark: Mark, found: tuple[int, int]) -> bool:
    if mark is None:
        return True
    return mark[0] == found[0] and abs(mark[1] - found[1]) <= _CLOCK_SECONDS * 1e9
