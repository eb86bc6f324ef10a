"""The content of files as a hash, which is computed again only for files that have changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ...errors import DatasetError, OutputError
from ...files import write_atomically
from ...images.parts import files_of

_PIECE = 1 << 22  # bytes
# A file changed within this time of being read may change again without its time of change telling.
_SETTLED_SECONDS = 3.0


def content_of(image: str | Path, *, records: Path) -> str:
    """A hash of all files that an image is made of; links count by what they lead to.

    Args:
        image: its path.
        records: a folder where hashes are kept, with each file's size and time of change.

    Raises:
        DatasetError: a file cannot be read.
    """
    parts = [_hash_of(path, records) for path in files_of(image)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def is_record(name: str) -> bool:
    """Whether a file's name is one that `content_of` gives to a record.

    >>> is_record("0" * 64 + ".json"), is_record("notes.json")
    (True, False)
    """
    stem = name.removesuffix(".json")
    return stem != name and len(stem) == 64 and not set(stem) - set("0123456789abcdef")


def _hash_of(path: Path, records: Path) -> str:
    real = os.path.realpath(path)
    record = records / f"{_joined([real])}.json"
    try:
        status = os.stat(real)
        mark = [status.st_size, status.st_mtime_ns]
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(record.read_bytes())
            if known["path"] == real and known["mark"] == mark:
                return str(known["sha256"])
        found = _sha256(real)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from error
    if time.time() - status.st_mtime > _SETTLED_SECONDS:
        content = json.dumps({"path": real, "mark": mark, "sha256": found}).encode()
        with suppress(OutputError):  # it is hashed again the next time
            write_atomically(record, lambda stream: stream.write(content))
    return found


def _sha256(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def _joined(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
