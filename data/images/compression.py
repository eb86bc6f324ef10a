"""Files that may be compressed: gzip by isal or zlib, bzip2 by Python; recognised by content.

isal inflates and deflates several times faster than zlib, used where isal is not installed.

Whichever it is, a file that cannot be inflated raises what Python's own gzip raises: EOFError when
it is cut off, zlib.error when the stream is damaged, gzip.BadGzipFile (an OSError without a number)
for a wrong checksum or something else behind the end.
"""

import bz2
import gzip
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

try:
    from isal import igzip, isal_zlib

    _HAS_ISAL = True
    _IsalError = cast(type[Exception], isal_zlib.error)
except ImportError:  # no wheel for this machine
    _HAS_ISAL = False

# Inflating a piece of this size at a time stays in the cache; larger pieces took half as long
# again.
_PIECE = 1 << 20
# Label maps shrink to about 1 % at any level. isal's 3 is ten times slower on them than its 2, and
# no smaller.
_ISAL_LEVEL = 2
_ZLIB_LEVEL = 3


_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def why_no_file(mode: int) -> str | None:
    """What a path is, in words, when opening it could hang; None for files and folders.

    Args:
        mode: st_mode of os.stat, links followed.

    >>> why_no_file(os.stat(os.devnull).st_mode)
    'a device'
    """
    return _KINDS.get(stat.S_IFMT(mode))


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's content, inflated where it is gzip or bzip2, whatever its name says.

    Raises:
        ImageError: it is a pipe, a socket or a device; without the path.
        OSError: it cannot be opened.
    """
    with _regular(path) as raw:
        start = raw.read(3)
        raw.seek(0)
        if start[:2] == b"\x1f\x8b":
            with inflating(raw) as stream:
                yield stream
        elif start == b"BZh":
            with bz2.BZ2File(raw) as stream:
                yield cast(BinaryIO, stream)
        else:
            yield raw


def check_regular(path: Path) -> None:
    """Refuse what cannot be read as a file, before anything waits for it.

    Raises:
        ImageError: it is a pipe, a socket or a device; without the path.
        OSError: it is not there, is a folder or cannot be opened.
    """
    with _regular(path):
        pass


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    # O_NONBLOCK: opening a pipe without a writer would wait for one.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    kind = why_no_file(os.stat(path).st_mode)
    if kind is not None:
        raise ImageError(f"it is {kind}, not a file; write its content to a file first")
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as raw:
        kind = why_no_file(os.fstat(raw.fileno()).st_mode)
        if kind is not None:
            raise ImageError(f"it is {kind}, not a file; write its content to a file first")
        yield raw


@contextmanager
def inflating(raw: BinaryIO) -> Iterator[BinaryIO]:
    """A stream that inflates the gzip stream of an open file.

    Args:
        raw: at the start of the gzip stream; it is not closed.

    Raises:
        EOFError, zlib.error, gzip.BadGzipFile: while reading: cut off, damaged, wrong checksum.
    """
    if not _HAS_ISAL:
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield cast(BinaryIO, stream)
        return
    try:
        with igzip.IGzipFile(fileobj=raw, mode="rb") as stream:
            yield cast(BinaryIO, stream)
    except _IsalError as error:
        raise zlib.error(str(error)) from error


@contextmanager
def deflating(raw: BinaryIO) -> Iterator[BinaryIO]:
    """A stream that writes gzip to an open file; without time stamp or name, so it is reproducible.

    Args:
        raw: it is not closed.
    """
    if not _HAS_ISAL:
        with gzip.GzipFile("", "wb", _ZLIB_LEVEL, raw, mtime=0) as stream:
            yield cast(BinaryIO, stream)
    else:
        with igzip.IGzipFile("", "wb", _ISAL_LEVEL, raw, mtime=0) as stream:
            yield cast(BinaryIO, stream)


def zlib_deflated(pieces: Iterable[bytes]) -> bytes:
    """The zlib stream of pieces of bytes."""
    deflate = isal_zlib.compressobj(_ISAL_LEVEL) if _HAS_ISAL else zlib.compressobj(_ZLIB_LEVEL)
    return b"".join([*map(deflate.compress, pieces), deflate.flush()])


def read_array(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> NDArray[np.generic]:
    """Read an array, first axis fastest, from where the stream stands, without copying its bytes.

    Raises:
        OSError: the stream ends before; no errno.
    """
    array = np.empty(shape, dtype=dtype, order="F")
    # Flat and of bytes, as readinto wants it; the array's memory is one piece, so ravel gives a
    # view.
    target = array.ravel("F").view(np.uint8).data
    done = 0
    while done < len(target):
        count = stream.readinto(target[done : done + _PIECE])  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"Expected {len(target)} bytes, got {done} bytes from object")
        done += count
    return array


def read_to_end(stream: BinaryIO) -> int:
    """Read what is left and drop it, so that the checksum at the end of gzip is verified.

    Returns:
        How many bytes were left.
    """
    count = 0
    while piece := stream.read(_PIECE):
        count += len(piece)
    return count
