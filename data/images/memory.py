"""An image that another tool hands over in memory, checked as one that is read from a file."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..geometry.grids import Grid
from .image import Image
from .reading import label_values
from .values import as_integers, settle_non_finite, whole_numbers

logger = logging.getLogger(__name__)

_NO_AFFINE = (
    "geometry: the image came in memory without an affine, so voxels of 1 mm towards RAS were taken"
)


def memory_image(
    array: NDArray[Any],
    *,
    affine: NDArray[Any] | None,
    channels: int = 1,
    channel_axis: int | None = None,
    non_finite: Literal["error", "replace"] = "error",
    keep_integers: bool = False,
) -> Image:
    """An array as an Image: its channels first, its values checked, on the grid of its affine.

    Args:
        array: (X, Y, Z) of one channel, (C, X, Y, Z), or with its channels at `channel_axis`.
        affine: (4, 4), voxel index to RAS+ mm; None takes voxels of 1 mm towards RAS, with a note
            and a warning.
        channel_axis: where the channels are; None: first, or nowhere.
        channels, non_finite, keep_integers: as for `read_image`.

    Returns:
        Image, in memory of its own where anything changes; its path is empty.

    Raises:
        ImageError: other axes or channels, an unusable affine, NaN or infinity, no numbers.
    """
    stored = _channels_first(array, channels, channel_axis)
    grid, notes = _grid(stored, affine)
    whole = as_integers(stored, 1.0, 0.0) if keep_integers else None
    if whole is not None:
        return Image(whole, grid, Path(), None, notes)
    # settle_non_finite writes in place, and the caller's array stays as it is
    values = np.array(stored, dtype=np.float32, order="K", copy=non_finite == "replace" or None)
    notes += settle_non_finite(values, non_finite)
    return Image(values, grid, Path(), None, notes)


def memory_labels(
    array: NDArray[Any],
    *,
    affine: NDArray[Any] | None,
    channel_axis: int | None = None,
    lowest: int = 0,
) -> Image:
    """A label map as an Image of the smallest integers; see `memory_image` and `read_labels`.

    Raises:
        ImageError: as `memory_image`; and when a value is a fraction or too low.
    """
    stored = _channels_first(array, 1, channel_axis)
    grid, notes = _grid(stored, affine)
    whole = stored if stored.dtype.kind in "iu" else whole_numbers(stored.astype(np.float64))
    return Image(label_values(whole, lowest=lowest), grid, Path(), None, notes)


def _channels_first(
    array: NDArray[Any], channels: int, channel_axis: int | None
) -> NDArray[np.generic]:
    if array.dtype.kind not in "biuf":
        raise ImageError(f"the image in memory holds {array.dtype}, not numbers")
    native = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    stored = np.asarray(array, dtype=native)
    if not stored.flags.writeable or min(stored.strides, default=0) < 0:
        stored = stored.copy(order="C")  # torch takes neither
    if stored.ndim == 4:
        told = () if channel_axis is None or not -4 <= channel_axis < 4 else (channel_axis,)
        for axis in (0, *told):
            if stored.shape[axis] == channels:
                stored = _as_read(np.moveaxis(stored, axis, 0))
                return stored[0] if channels == 1 else stored
    elif stored.ndim == 3 and channels == 1:
        return _as_read(stored)
    raise ImageError(
        f"the image in memory has the axes {array.shape}; (X, Y, Z) or (C, X, Y, Z) with C = "
        f"{channels} is wanted"
    )


def _as_read(stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """(..., X, Y, Z) in memory as the readers of files have it, x innermost.

    Resampling goes through the axes as they lie in memory, and rounds accordingly: a scan is to
    give the same mask to the last voxel, whoever reads it.
    """
    turned = np.ascontiguousarray(stored.swapaxes(-1, -3))
    return turned.swapaxes(-1, -3)


def _grid(stored: NDArray[np.generic], affine: NDArray[Any] | None) -> tuple[Grid, tuple[str, ...]]:
    if stored.size == 0:
        raise ImageError(f"the image in memory has no voxel: its axes are {stored.shape}")
    x, y, z = stored.shape[-3:]
    if affine is None:
        logger.warning(_NO_AFFINE)
        return Grid((x, y, z), np.eye(4)), (_NO_AFFINE,)
    return Grid((x, y, z), np.asarray(affine, dtype=np.float64)), ()
