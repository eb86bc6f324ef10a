"""One preprocessed case in a folder: case.json and a file for each large array, with checksums."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError
from .arrays import StoredArray, array_bytes
from .values import decoded, encoded

LISTING = "case.json"
_HEAD = "gridgate-case 1"
_ARRAY = "array_{}.b2nd"
_PIECE = 1 << 22  # bytes


@dataclass(frozen=True)
class StoredCase:
    """A case that `write_case` has written.

    Args:
        folder: where it is.
    """

    folder: Path

    def read(self) -> dict[str, Any]:
        """All of it, in memory.

        Raises:
            DatasetError: it is gone or damaged.
        """
        return self._decoded(lambda stored: stored[...])

    def open(self) -> dict[str, Any]:
        """All of it, but for the large arrays, which are StoredArray.

        Raises:
            DatasetError: it is gone or damaged.
        """
        return self._decoded(lambda stored: stored)

    def why_damaged(self) -> str | None:
        """What is wrong with its files, all of them read; None where nothing is."""
        try:
            for name, (size, checksum) in self._listing()["files"].items():
                found = _checksum(self.folder / name)
                if found != (size, checksum):
                    return f"{name} is not as it was written"
        except (OSError, DatasetError, KeyError, TypeError, ValueError) as error:
            return str(error)
        return None

    @property
    def bytes(self) -> int:
        """Size of its files; 0 where they cannot be told."""
        try:
            return sum((self.folder / name).stat().st_size for name in self.names())
        except (OSError, DatasetError):
            return 0

    def about(self) -> dict[str, Any]:
        """What whoever wrote it said about it."""
        return dict(self._listing()["about"])

    def names(self) -> list[str]:
        """Of its files.

        Raises:
            DatasetError: case.json is gone or damaged.
        """
        return [LISTING, *self._listing()["files"]]

    def _decoded(self, give: Callable[[StoredArray], Any]) -> dict[str, Any]:
        def get(at: Mapping[str, Any]) -> Any:
            shape, dtype = tuple(at["shape"]), np.dtype(at["dtype"])
            return give(StoredArray(self.folder / at["file"], shape, dtype))

        found: dict[str, Any] = decoded(self._listing()["case"], get)
        return found

    def _listing(self) -> dict[str, Any]:
        path = self.folder / LISTING
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            if head.decode() != f"{_HEAD} {len(body)} {zlib.crc32(body)}":
                raise ValueError("it is not as it was written")
            found: dict[str, Any] = json.loads(body)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path}: this stored case cannot be read ({error}); start the same command again "
                "with --resume True, and it is made anew"
            ) from error
        return found


def write_case(folder: Path, case: Mapping[str, Any], *, about: Mapping[str, Any]) -> None:
    """Write a case into a folder that is there, case.json last; all is on disk then.

    Args:
        case: see `encoded`.
        about: what it is, for people; plain values.

    Raises:
        OSError: the system refuses.
        ConfigError: it holds what cannot be stored.
    """
    files: dict[str, tuple[int, int]] = {}

    def put(array: NDArray[Any]) -> dict[str, Any]:
        name = _ARRAY.format(len(files))
        files[name] = _write(folder / name, array_bytes(array))
        return {"file": name, "shape": list(array.shape), "dtype": array.dtype.str}

    content = encoded(dict(case), put)
    listing = {"about": dict(about), "files": files, "case": content}
    body = json.dumps(listing).encode()
    head = f"{_HEAD} {len(body)} {zlib.crc32(body)}\n".encode()
    _write(folder / LISTING, head + body)


def is_ours(name: str) -> bool:
    """Whether a file of a case's folder has a name that `write_case` gives.

    >>> is_ours("array_0.b2nd"), is_ours("case.json"), is_ours("notes.txt")
    (True, True, False)
    """
    start, end = _ARRAY.split("{}")
    inside = name.removeprefix(start).removesuffix(end)
    return name == LISTING or (inside.isdecimal() and name == _ARRAY.format(inside))


def _write(path: Path, content: bytes) -> tuple[int, int]:
    with open(path, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return len(content), zlib.crc32(content)


def _checksum(path: Path) -> tuple[int, int]:
    size = checksum = 0
    with open(path, "rb") as stream:
        while piece := stream.read(_PIECE):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return size, checksum
