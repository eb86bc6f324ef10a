"""gzip by isal, which inflates and deflates several times faster than zlib, or by zlib where isal is not installed.

Whichever it is, a file that cannot be inflated raises what Python's own gzip raises: EOFError when
it is cut off, zlib.error when the stream is damaged, gzip.BadGzipFile (an OSError without a number)
for a wrong checksum or something else behind the end.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

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
    """A stream that writes gzip to an open file, without time stamp or name: one input gives one file.

    Args:
        raw: it is not closed.
    """
    if not _HAS_ISAL:
        with gzip.GzipFile("", "wb", _ZLIB_LEVEL, raw, mtime=0) as stream:
            yield cast(BinaryIO, stream)
    else:
        with igzip.IGzipFile("", "wb", _ISAL_LEVEL, raw, mtime=0) as stream:
            yield cast(BinaryIO, stream)


def read_array(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> NDArray[np.generic]:
    """Read an array, first axis fastest, from where the stream stands; its bytes are not copied on the way.

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


def read_to_end(stream: BinaryIO) -> None:
    """Read what is left and drop it: gzip's checksum is at the end, so a damaged stream is found out only there."""
    while stream.read(_PIECE):
        pass
