"""Regions, which overlap: a voxel's membership as bits, and the one map that is made of them.

Bit 0 is the first region, which is channel 0 of the scores and label 1 of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...data.errors import ConfigError
from .thresholds import Threshold, of_channel

if TYPE_CHECKING:  # plans and tables, which do without PyTorch, import this too
    import torch

MOST_REGIONS = 15
"""So many bits a signed 16-bit number has room for."""


def check_region_values(region_values: Sequence[int], names: Sequence[str]) -> None:
    """Refuse values of regions that cannot be.

    Args:
        region_values: the value that each region is written as.
        names: of the regions.

    Raises:
        ConfigError: not one per region, one twice, one that is no whole number from 1 up, or more
            regions than there can be.
    """
    listed = isinstance(region_values, list | tuple)
    sound = listed and all(type(one) is int and one > 0 for one in region_values)
    if not sound or not len(set(region_values)) == len(region_values) == len(names):
        raise ConfigError(
            f"region_values {region_values!r}: a whole number from 1 up for each of the regions "
            f"{', '.join(names)} is wanted, each once"
        )
    if len(region_values) > MOST_REGIONS:
        raise ConfigError(f"{len(region_values)} regions; {MOST_REGIONS} at most can overlap")


def region_bits(scores: torch.Tensor, *, dim: int, threshold: Threshold = 0.0) -> torch.Tensor:
    """Bits of the regions whose score is above its threshold; int16, without the axis `dim`.

    Args:
        scores: along `dim` one per region: logits, or probabilities with the threshold 0.5.

    Example:
        >>> import torch
        >>> region_bits(torch.tensor([[3.0, -1.0, 2.0], [-1.0, 0.0, -2.0]]), dim=1).tolist()
        [5, 0]
    """
    bits: torch.Tensor | None = None
    for number, score in enumerate(scores.unbind(dim)):
        bit = (score > of_channel(threshold, number)).short()
        bits = bit if bits is None else bits | (bit << number)
    assert bits is not None, "scores without channels"
    return bits


def bits_dtype(regions: int) -> type[np.unsignedinteger]:
    """The smallest unsigned integer that holds the bits of so many regions."""
    return np.uint8 if regions <= 8 else np.uint16


def region_mask(bits: NDArray[np.integer], number: int) -> NDArray[np.uint8]:
    """Where region `number`, counted from 0, is: 1, else 0.

    >>> region_mask(np.array([0, 1, 2, 3]), 1).tolist()
    [0, 0, 1, 1]
    """
    return ((bits >> number) & 1).astype(np.uint8)


def written_map(
    bits: NDArray[np.integer], region_values: Sequence[int]
) -> NDArray[np.unsignedinteger]:
    """One map of overlapping regions: each region's value, later regions over earlier ones.

    This is what nnU-Net's regions_class_order says.

    Args:
        bits: any shape and order in memory, which the map keeps.
        region_values: the value of each region, in their order.

    Returns:
        The smallest unsigned integers that hold the values; 0 where no region is.

    Example:
        >>> written_map(np.array([0b000, 0b001, 0b011, 0b111, 0b100]), [1, 2, 3]).tolist()
        [0, 1, 2, 3, 3]
    """
    dtype = np.min_scalar_type(max(region_values))
    table = np.zeros(1 << len(region_values), dtype=dtype)
    for number, value in enumerate(region_values):
        members = (np.arange(len(table)) >> number) & 1 == 1
        table[members] = value
    result: NDArray[np.unsignedinteger] = np.empty_like(bits, dtype=dtype)
    np.take(table, bits.T, out=result.T, mode="clip")
    return result
