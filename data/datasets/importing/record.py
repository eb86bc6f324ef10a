"""import.json: what each file of an imported dataset was made from, and how."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...dicom.series import DicomSeries
from ...errors import DatasetError, ImageError
from ...images.compression import why_no_file
from ...images.parts import files_of
from ...output_folder import OutputFolder
from .source import Member, Source

FILE = "import.json"
"""The record's name in the dataset folder."""

_EVERY = 5.0  # seconds between two writes; a killed run makes no more than these anew
_PIECE = 1 << 20
Input = Path | DicomSeries | Member


class Record:
    """What was made from what, as far as an earlier run came, and as far as this one is.

    Args:
        output: the dataset folder.
        name: of the record's file.

    Raises:
        DatasetError: the file is there and cannot be read.
    """

    def __init__(self, output: OutputFolder, name: str = FILE) -> None:
        self.output, self.name = output, name
        self._content = _read(output.folder / name)
        self._before: dict[str, Any] = dict(self._content.get("files", {}))
        self.files: dict[str, Any] = {}
        self._written = time.monotonic()

    @property
    def origin(self) -> str:
        """Of the source that was imported into this folder before; "" for none."""
        return str(self._content.get("origin", ""))

    @property
    def complete(self) -> bool:
        """Whether an earlier run came to its end, and all its files are as it wrote them."""
        return bool(self._content.get("complete")) and all(map(self.is_whole, self._before))

    def is_whole(self, relative: str) -> bool:
        """Whether a file is as Gridgate wrote it, and a link leads somewhere."""
        return self.output.owns(relative) and (self.output.folder / relative).exists()

    def is_made(self, relative: str, recipe: Mapping[str, Any]) -> bool:
        """Whether a file is there, made by the same recipe; then it is taken over."""
        before = self._before.get(relative)
        if before is None or before["recipe"] != recipe or not self.is_whole(relative):
            return False
        self.files[relative] = before
        return True

    def enter(self, relative: str, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """A file was made."""
        self.files[relative] = {"recipe": dict(recipe), **facts}
        if time.monotonic() - self._written >= _EVERY:
            self.save({**self._content, "complete": False}, {**self._before, **self.files})

    def forget(self, relatives: Iterable[str]) -> None:
        """Files of a case that is left out after all: they are removed."""
        for relative in relatives:
            self.files.pop(relative, None)
            self.output.remove(relative)

    def stale(self) -> list[str]:
        """Files of the earlier run that this one does not have."""
        return sorted(set(self._before) - set(self.files))

    def finish(self, source: Source) -> bool:
        """Write the record of a complete import; whether anything is new in it."""
        head = {"kind": source.kind, "origin": source.origin, "licence": source.licence}
        if source.checksum:
            head["checksum"] = source.checksum
        same = {key: self._content.get(key) for key in head} == head
        if same and self.files == self._before and self._content.get("complete"):
            return False
        head["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.save({**head, "complete": True}, self.files)
        return True

    def keep(self, source: Source) -> None:
        """Write what is made so far: the run is about to end before its time."""
        head = {"kind": source.kind, "origin": source.origin, "complete": False}
        self.save(head, {**self._before, **self.files})

    def save(self, head: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        """Write the record's file, where it says anything new.

        Raises:
            OutputError: a file that Gridgate did not write is in its place.
        """
        content = {**head, "files": dict(sorted(files.items()))}
        write_json(self.output, self.name, content)
        self._written = time.monotonic()


def write_json(output: OutputFolder, relative: str, content: Any) -> bool:
    """Write a JSON file of an output folder, unless it holds just that; whether it was written."""
    try:
        data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file's name that is not UTF-8
        data = (json.dumps(content, indent=2) + "\n").encode()
    path = output.path(relative)
    if output.owns(relative) and path.read_bytes() == data:
        return False
    output.write(relative, lambda stream: stream.write(data))
    return True


def files_behind(source: Input) -> list[Path]:
    """The files on the disk that an image or a label map is made of."""
    if isinstance(source, Member):
        return [source.archive]
    if isinstance(source, DicomSeries):
        return [source.archive] if source.archive else [Path(file) for file in source.files]
    return files_of(source)


def state_of(source: Input) -> dict[str, Any]:
    """What tells whether an input is still the same, without reading it.

    Raises:
        ImageError: a file is not there, or is none.
    """
    if isinstance(source, Member):
        return {"member": source.name, "bytes": source.size, "archive": source.checksum}
    digest, total = hashlib.sha256(), 0
    files = files_behind(source)
    for file in files:
        status = _status(file)
        total += status.st_size
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
    named = str(source.folder if isinstance(source, DicomSeries) else source)
    return {"path": named, "files": len(files), "bytes": total, "state": digest.hexdigest()[:16]}


def sha256_of(files: Iterable[Path]) -> str:
    """The SHA-256 of a file, or of several one after another.

    Raises:
        ImageError: one cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            with open(file, "rb") as stream:
                while piece := stream.read(_PIECE):
                    digest.update(piece)
        except OSError as error:
            raise ImageError(f"{file}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _status(file: Path) -> os.stat_result:
    try:
        status = os.stat(file)
    except (OSError, ValueError) as error:
        raise ImageError(f"{file}: cannot be read ({error}); check the path") from None
    kind = why_no_file(status.st_mode)
    if kind is not None:
        raise ImageError(f"{file}: this is {kind}, not a file")
    return status


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = content["files"]
        if not all(isinstance(files[name]["recipe"], dict) for name in files):
            raise ValueError("no recipes in it")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}); remove it, and the import makes every file anew"
        ) from None
    return dict(content)
