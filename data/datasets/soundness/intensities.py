"""What is measured of an image's voxels: range, clipping, levels, whether they can be HU."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...images.values import HuTrouble, hu_trouble

_SAMPLE = 1 << 18
_LEVELS = 1024  # distinct values are counted up to here


@dataclass(frozen=True)
class Intensities:
    """Of one channel of an image.

    Args:
        stored: the type of the array, such as "int16".
        lowest, highest: of all voxels.
        low, middle, high: percentiles 5, 50 and 95 of what is not the lowest value.
        at_lowest, at_highest: share of the voxels with these values, 0..1.
        levels: how many values there are in a sample; 1024 for more.
        hu: why the values can hardly be HU; None where they can, and where the image is no CT.
    """

    stored: str
    lowest: float
    highest: float
    low: float
    middle: float
    high: float
    at_lowest: float
    at_highest: float
    levels: int
    hu: HuTrouble | None


def measure_intensities(array: NDArray[Any], *, is_ct: bool) -> Intensities:
    """Measure a channel.

    Args:
        array: (X, Y, Z), finite.
        is_ct: whether its values should be HU.
    """
    lowest, highest = float(array.min()), float(array.max())
    flat = array.ravel("K")
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    at_lowest, at_highest = (float(np.mean(sample == edge)) for edge in (lowest, highest))
    inner = sample[sample > lowest] if lowest < highest else sample
    low, middle, high = np.percentile(inner if inner.size else sample, (5, 50, 95))
    levels = min(len(np.unique(sample)), _LEVELS)
    return Intensities(
        array.dtype.name,
        lowest,
        highest,
        float(low),
        float(middle),
        float(high),
        at_lowest,
        at_highest,
        levels,
        hu_trouble(array) if is_ct else None,
    )


def content_hash(array: NDArray[Any]) -> str:
    """A hash of the voxels' values, whatever their type in memory.

    Args:
        array: (X, Y, Z) with its axes towards RAS, so that a copy stored in another orientation has
            the same hash.

    >>> content_hash(np.ones((2, 2, 2), np.uint8)) == content_hash(np.ones((2, 2, 2), np.float32))
    True
    """
    return _hash(array, np.float32)


def label_hash(array: NDArray[Any]) -> str:
    """A hash of a label map, of its integers as they are in memory; see `content_hash`."""
    return _hash(array, array.dtype)


def _hash(array: NDArray[Any], dtype: DTypeLike) -> str:
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    zero = np.zeros((), dtype)
    for index in range(array.shape[2]):
        plane = np.asfortranarray(array[:, :, index], dtype=dtype) + zero  # -0 becomes 0
        digest.update(plane.T.tobytes())
    return digest.hexdigest()


def is_ct(channel: str) -> bool:
    """Whether a channel's name says that its values are HU.

    >>> is_ct("CT"), is_ct("MRI"), is_ct("noNorm")
    (True, False, False)
    """
    return channel.strip().lower() in ("ct", "cect", "ldct", "cbct", "ct_arterial", "ct_venous")
