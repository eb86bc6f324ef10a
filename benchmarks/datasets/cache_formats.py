"""blosc2 against zarr for preprocessed cases: sizes, seconds to write, milliseconds a window."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROIS = ((64, 48, 48), (96, 96, 96))
FORMATS = {
    "blosc2": [
        ("LZ4", 5, "SHUFFLE", 64, 16),
        ("LZ4", 5, "SHUFFLE", 64, 32),
        ("LZ4", 5, "SHUFFLE", 128, 32),
        ("LZ4", 5, "BITSHUFFLE", 64, 16),
        ("BLOSCLZ", 5, "SHUFFLE", 64, 16),
        ("ZSTD", 1, "SHUFFLE", 64, 16),
        ("ZSTD", 1, "SHUFFLE", 96, 24),
        ("ZSTD", 5, "SHUFFLE", 64, 16),
    ],
    "zarr": [
        ("lz4", 5, "shuffle", 64, None),
        ("zstd", 1, "shuffle", 64, None),
        ("zstd", 1, "shuffle", 64, "one file"),
        ("zstd", 1, "shuffle", 32, "one file"),
    ],
}


def measured_formats(path: Path) -> Iterator[dict[str, Any]]:
    """A row per format of a case: size, seconds to write, milliseconds to read windows."""
    case = np.load(path)
    image = np.asarray(case["image"], np.float32)
    label = np.asarray(case["label"], np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for what, array in (("image", image), ("label", label)):
            for library, ways in FORMATS.items():
                for way in ways if what == "image" else ways[:1]:
                    write, read = WAYS[library]
                    row = one_format(array, Path(folder) / "array", way, write, read)
                    name = f"{path.stem} {what} {'x'.join(map(str, array.shape[1:]))}"
                    yield {"case": name, "library": library, "way": told(way), **row}


def told(way: tuple[Any, ...]) -> str:
    """A way of storing in words."""
    codec, level, shuffle, chunk, block = way
    inside = f", {block}^3 blocks" if isinstance(block, int) else f", {block}" if block else ""
    return f"{codec.lower()} {level}, {shuffle.lower()}, {chunk}^3 chunks{inside}"


def one_format(
    array: NDArray[Any],
    path: Path,
    way: tuple[Any, ...],
    write: Callable[..., None],
    read: Callable[[Path], Any],
) -> dict[str, Any]:
    """Write, read and compare; each read opens the file anew, as a worker does."""
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    began = time.perf_counter()
    write(array, path, way)
    row = {"MB": f"{size_of(path) / 1e6:.2f}", "write s": f"{time.perf_counter() - began:.2f}"}
    for roi in ROIS:
        boxes = random_boxes(array.shape, roi, 24)
        cold, warm = [], []
        for box in boxes[:8]:
            forget(path)
            began = time.perf_counter()
            found = read(path)[box]
            cold.append(time.perf_counter() - began)
            bits = f"u{array.dtype.itemsize}"
            assert np.array_equal(found.view(bits), np.ascontiguousarray(array[box]).view(bits))
        for box in boxes * 2:
            began = time.perf_counter()
            read(path)[box]
            warm.append(time.perf_counter() - began)
        name = "x".join(map(str, roi))
        row[f"{name} cold ms"] = f"{min(cold) * 1e3:.1f}"
        row[f"{name} ms"] = f"{min(warm) * 1e3:.1f}"
    began = time.perf_counter()
    read(path)[...]
    return {**row, "whole s": f"{time.perf_counter() - began:.2f}"}


def random_boxes(shape: tuple[int, ...], roi: tuple[int, ...], count: int) -> list[Any]:
    """Boxes of windows, cut off where the volume is smaller."""
    draw = np.random.default_rng(0)
    boxes = []
    for _ in range(count):
        starts = [
            int(draw.integers(max(n - k, 0) + 1)) for n, k in zip(shape[1:], roi, strict=True)
        ]
        inside = [slice(a, min(a + k, n)) for a, k, n in zip(starts, roi, shape[1:], strict=True)]
        boxes.append((slice(None), *inside))
    return boxes


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(one.stat().st_size for one in files_of(path))


def files_of(path: Path) -> list[Path]:
    """A file, or the files of a folder."""
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]


def forget(path: Path) -> None:
    """Have the system drop what it holds of the files in memory."""
    for one in files_of(path):
        with open(one, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def within(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A cube's shape, with one channel, no larger than an array."""
    return (1, *(min(size, n) for n in shape[1:]))


def write_blosc2(array: NDArray[Any], path: Path, way: tuple[Any, ...]) -> None:
    """One file."""
    import blosc2

    codec, level, shuffle, chunk, block = way
    chunks = within(chunk, array.shape)
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(path),
        mode="w",
        chunks=chunks,
        blocks=within(block, chunks),
        cparams={
            "codec": getattr(blosc2.Codec, codec),
            "clevel": level,
            "filters": [getattr(blosc2.Filter, shuffle)],
            "nthreads": 1,
        },
    )


def read_blosc2(path: Path) -> Any:
    """Opened."""
    import blosc2

    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


def write_zarr(array: NDArray[Any], path: Path, way: tuple[Any, ...]) -> None:
    """A folder: a file per chunk, or one shard."""
    import zarr
    from numcodecs import blosc
    from zarr.codecs import BloscCodec

    blosc.use_threads = False
    codec, level, shuffle, chunk, sharded = way
    chunks = within(chunk, array.shape)
    shards = tuple(-(-n // k) * k for n, k in zip(array.shape, chunks, strict=True))
    held = zarr.create_array(
        str(path),
        shape=array.shape,
        chunks=chunks,
        shards=shards if sharded else None,
        dtype=array.dtype,
        compressors=BloscCodec(cname=codec, clevel=level, shuffle=shuffle),
    )
    held[...] = array


def read_zarr(path: Path) -> Any:
    """Opened."""
    import zarr

    return zarr.open_array(str(path), mode="r")


WAYS: dict[str, tuple[Callable[..., None], Callable[[Path], Any]]] = {
    "blosc2": (write_blosc2, read_blosc2),
    "zarr": (write_zarr, read_zarr),
}
