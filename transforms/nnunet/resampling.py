"""nnU-Net's resampling: splines axis by axis, and one axis apart where voxels are long and thin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ...data.errors import ConfigError

_ORDERS = range(6)


@dataclass(frozen=True)
class Resampling:
    """How nnU-Net's plans say that volumes are resampled.

    Args:
        order: of the spline, 0 (nearest) to 5; 1 is linear, 3 cubic.
        order_z: of that along an axis that is resampled apart.
        separate_z: whether the axis of the largest spacing is resampled apart; None: where one
            spacing is more than `anisotropy` times another.
        anisotropy: see `separate_z`.

    Raises:
        ConfigError: a value is impossible.
    """

    order: int = 3
    order_z: int = 0
    separate_z: bool | None = None
    anisotropy: float = 3.0

    def __post_init__(self) -> None:
        if self.order not in _ORDERS or self.order_z not in _ORDERS:
            raise ConfigError(
                f"resampling of order {self.order!r} and order_z {self.order_z!r}: 0 to 5 are there"
            )
        if self.separate_z not in (None, True, False) or not self.anisotropy >= 1:
            raise ConfigError(
                f"resampling with separate_z {self.separate_z!r} and anisotropy "
                f"{self.anisotropy!r}: true, false or null, and a number from 1 up, are wanted"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Resampling:
        """The resampling that a plan's settings say.

        Raises:
            ConfigError: a setting is unknown or impossible.
        """
        try:
            return cls(**dict(settings))
        except TypeError as error:
            raise ConfigError(f"resampling {dict(settings)}: {error}") from error

    def separate_axis(self, current: Sequence[float], new: Sequence[float]) -> int | None:
        """The axis that is resampled apart, or None.

        Args:
            current, new: mm along each axis, before and after.

        Example:
            >>> Resampling().separate_axis((5, 0.8, 0.8), (1, 1, 1))
            0
            >>> Resampling().separate_axis((2, 0.8, 0.8), (1, 1, 1)) is None
            True
        """
        if self.separate_z is False:
            return None
        if self.separate_z or _is_long(current, self.anisotropy):
            return _longest(current)
        return _longest(new) if _is_long(new, self.anisotropy) else None


def _is_long(spacing: Sequence[float], threshold: float) -> bool:
    return max(spacing) / min(spacing) > threshold


def _longest(spacing: Sequence[float]) -> int | None:
    """The one axis of the largest spacing; None where several have it."""
    axes = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
    return axes[0] if len(axes) == 1 else None


def new_shape(
    shape: Sequence[int], current: Sequence[float], new: Sequence[float]
) -> tuple[int, ...]:
    """The sizes of a volume at another spacing, rounded half to even; at least 1.

    >>> new_shape((10, 100, 101), (5.0, 0.8, 0.5), (2.5, 1.0, 1.0))
    (20, 80, 50)
    """
    return tuple(
        max(1, round(float(old) / float(wanted) * size))
        for size, old, wanted in zip(shape, current, new, strict=True)
    )


def resample(
    volume: torch.Tensor, shape: Sequence[int], *, how: Resampling, apart: int | None
) -> torch.Tensor:
    """A volume at other sizes; voxels' edges meet, beyond the border is the border's value.

    As skimage's resize(mode="edge", anti_aliasing=False): values stay within those of the volume.
    A spline of several axes is one along each after the other, and that along one axis is a matrix.

    Args:
        volume: (C, x, y, z) float32.
        shape: new sizes.
        how: orders; its rules of axes are not asked.
        apart: the axis that is resampled apart, last, each of its planes having been resampled with
            its own lowest and highest value; None: none is.

    Returns:
        (C, *shape) float32; the volume itself where it has that shape.
    """
    if tuple(volume.shape[1:]) == tuple(shape):
        return volume
    axes = [axis for axis in range(3) if axis != apart]
    # within these values overshooting splines stay: of each channel, or of each plane of it
    over = tuple(axis + 1 for axis in axes)
    low, high = volume.amin(over, keepdim=True), volume.amax(over, keepdim=True)
    # the axis that shrinks most first
    for axis in sorted(axes, key=lambda axis: shape[axis] / volume.shape[axis + 1]):
        volume = _along(volume, axis, shape[axis], how.order)
    if how.order > 1:
        volume = torch.minimum(torch.maximum(volume, low), high)
    return volume if apart is None else _along(volume, apart, shape[apart], how.order_z)


def nearest(count: int, size: int) -> NDArray[np.int64]:
    """Which of `count` voxels is nearest to each of `size` that fill the same length.

    >>> nearest(3, 6).tolist(), nearest(4, 2).tolist()
    ([0, 0, 1, 1, 2, 2], [1, 3])
    """
    at = count / size * (np.arange(size) + 0.5) - 0.5
    return np.clip(np.floor(at + 0.5), 0, count - 1).astype(np.int64)


def _along(volume: torch.Tensor, axis: int, size: int, order: int) -> torch.Tensor:
    count = volume.shape[axis + 1]
    if count == size:
        return volume
    if order == 0:
        return volume.index_select(axis + 1, torch.from_numpy(nearest(count, size)))
    matrix = torch.from_numpy(_matrix(count, size, order))
    channels, *sizes = volume.shape
    if axis == 2:
        return volume @ matrix.T
    if axis == 1:
        return matrix @ volume
    flat = matrix @ volume.reshape(channels, count, -1)
    return flat.reshape(channels, size, *sizes[1:])


@lru_cache(maxsize=32)
def _matrix(count: int, size: int, order: int) -> NDArray[np.float32]:
    """(size, count): what a spline of `count` voxels makes of them on `size`."""
    columns = [
        ndimage.zoom(column, size / count, order=order, mode="nearest", grid_mode=True)
        for column in np.eye(count)
    ]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)
