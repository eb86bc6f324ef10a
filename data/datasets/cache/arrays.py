"""Arrays on disk in compressed blocks: written whole, read whole or in part, bit for bit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DatasetError

# A chunk is what is found by one look into the file, a block what is inflated at once. Chosen by
# benchmarks/datasets/cache.py. Voxels of floats take four bytes, those of labels one.
_CHUNK, _BLOCK, _SMALL_VOXELS_BLOCK = 64, 16, 32
_LIST_CHUNK, _LIST_BLOCK = 65_536, 2_048
_CODEC, _LEVEL = "LZ4", 5
_NARROW = (np.uint8, np.int16)  # what whole numbers are kept in, where nothing is lost


@dataclass(frozen=True)
class StoredArray:
    """An array in a file of `array_bytes`: `stored[box]` reads what the box touches.

    A copy of this in another process, forked or pickled, is as good.

    Args:
        path: the file.
        shape: of the array.
        dtype: of what is read; the file may hold a narrower one.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, box: Any) -> NDArray[Any]:
        """A new array, or a number.

        Raises:
            DatasetError: the file is gone or damaged.
        """
        try:
            found = self._opened[box]
        except (OSError, RuntimeError, ValueError) as error:
            raise DatasetError(
                f"{self.path}: this stored case cannot be read ({error}); start the same command "
                "again with --resume True, and it is made anew"
            ) from error
        return np.asarray(found).astype(self.dtype, copy=False)

    @cached_property
    def _opened(self) -> Any:
        """What blosc2 needs to know of the file; it opens the file itself for each read."""
        return _blosc2().open(str(self.path), mode="r", dparams={"nthreads": 1})

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "shape": self.shape, "dtype": self.dtype}

    @cached_property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))


def array_bytes(array: NDArray[Any]) -> bytes:
    """The content of a file that holds an array of at least one number, compressed.

    Args:
        array: of any shape and numeric type; the last three axes of four are those of a volume.
    """
    blosc2 = _blosc2()
    narrow = _narrowed(np.ascontiguousarray(array))
    chunks, blocks = _partition(narrow)
    held = blosc2.asarray(
        narrow,
        chunks=chunks,
        blocks=blocks,
        cparams={
            "codec": getattr(blosc2.Codec, _CODEC),
            "clevel": _LEVEL,
            "filters": [blosc2.Filter.SHUFFLE],
            "nthreads": 1,
        },
    )
    return bytes(held.to_cframe())


@lru_cache(maxsize=1)
def _blosc2() -> Any:
    """The library, which only those pay for who store cases."""
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # it counts cores in the log
    import blosc2

    return blosc2


def _partition(array: NDArray[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of a chunk and of a block, neither larger than the array."""
    chunk: tuple[int, ...] = (_LIST_CHUNK,)
    block: tuple[int, ...] = (_LIST_BLOCK,)
    if array.ndim != 1:
        edge = _BLOCK if array.dtype.itemsize > 1 else _SMALL_VOXELS_BLOCK
        others = (1,) * max(array.ndim - 3, 0)
        inside = min(array.ndim, 3)
        chunk, block = others + (_CHUNK,) * inside, others + (edge,) * inside
    chunks = tuple(min(size, wanted) for size, wanted in zip(array.shape, chunk, strict=True))
    blocks = tuple(min(size, wanted) for size, wanted in zip(chunks, block, strict=True))
    return chunks, blocks


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the narrowest of a few types that gives back each bit, or itself."""
    if array.dtype.kind not in "fiu" or array.size == 0:
        return array
    low, high = array.min(), array.max()
    for dtype in _NARROW:
        limits = np.iinfo(dtype)
        if array.dtype.itemsize <= np.dtype(dtype).itemsize:
            continue
        if not (limits.min <= low and high <= limits.max):  # NaN is nowhere between
            continue
        narrow = array.astype(dtype)
        bits = f"u{array.dtype.itemsize}"  # so that -0.0 is not taken for 0.0
        if np.array_equal(narrow.astype(array.dtype).view(bits), array.view(bits)):
            return narrow
        return array  # not whole numbers
    return array
