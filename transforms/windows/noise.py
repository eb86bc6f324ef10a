"""Gaussian noise that is the same on each device: a hash of the voxels' numbers, by Box-Muller.

A device's own generator gives other numbers on a CPU than on a GPU, and noise that NumPy draws must
be copied to the GPU: a window's worth each time, for which the process waits. A hash of integers is
exact everywhere and computed where the window is, and faster than NumPy's noise on a CPU, too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch

_MASK = 0xFFFFFFFF
_STEP = 0x9E3779B9  # odd, so that neighbouring voxels' numbers differ in many bits
_FIRST, _SECOND = 0x85EBCA6B, 0xC2B2AE35  # of the finalizer of MurmurHash3, by Austin Appleby
_BITS = 24  # of a hash that a float32 holds exactly


def gaussian_noise(shape: Sequence[int], seed: int, device: torch.device) -> torch.Tensor:
    """Standard normal float32 numbers, at most 5.9 from 0, the same for the same seed.

    On another device the hash is the same, and its logarithm and cosine to the last bits.

    Args:
        shape: of the result, at least one number and fewer than 2^31.
        seed: 0 to 2^64 - 1.
    """
    count = math.prod(shape)
    half = (count + 1) // 2
    uniform = _uniform(hashed(2 * half, seed, device))
    radius = uniform[:half].log_().mul_(-2).sqrt_()
    angle = uniform[half:].mul_(2 * math.pi)
    noise = torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)])
    return noise[:count].view(tuple(shape))


def hashed(count: int, seed: int, device: torch.device) -> torch.Tensor:
    """(count,) int32, whose bits are those of MurmurHash3's finalizer with two keys.

    Args:
        seed: 0 to 2^64 - 1; keys of neighbouring seeds have nothing in common.
    """
    keys = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=8).digest()
    before, between = (int.from_bytes(half, "little") for half in (keys[:4], keys[4:]))
    bits = torch.arange(count, dtype=torch.int32, device=device)
    bits.mul_(_signed(_STEP)).add_(_signed(before))
    _fold(bits, 16).mul_(_signed(_FIRST)).add_(_signed(between))
    return _fold(_fold(bits, 13).mul_(_signed(_SECOND)), 16)


def _fold(bits: torch.Tensor, by: int) -> torch.Tensor:
    # int32's shift brings copies of the sign: they are masked
    return bits.bitwise_xor_((bits >> by).bitwise_and_((1 << (32 - by)) - 1))


def _uniform(bits: torch.Tensor) -> torch.Tensor:
    """Float32 numbers above 0, up to 1."""
    high = (bits >> (32 - _BITS)).bitwise_and_((1 << _BITS) - 1)
    return high.float().add_(0.5).mul_(2.0**-_BITS)


def _signed(number: int) -> int:
    """The int32 of a number's lower 32 bits.

    >>> _signed(5), _signed(2**32 - 1), _signed(2**32 + 7)
    (5, -1, 7)
    """
    number &= _MASK
    return number - (1 << 32) if number >> 31 else number
