"""Tensors as a loss wants them."""

from __future__ import annotations

import torch
from torch import Tensor


def plain(tensor: Tensor) -> Tensor:
    """The tensor without MetaTensor's bookkeeping, which every operation would carry along."""
    return tensor.as_subclass(Tensor) if type(tensor) is not Tensor else tensor


def single(logits: Tensor) -> Tensor:
    """Half precision in float32, as sums over millions of voxels overflow it; others unchanged."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def one_against_rest(logits: Tensor) -> Tensor:
    """Logits (B, C, ...) whose sigmoids are the softmax of the given ones, C 2 or more.

    Each is its own minus the logarithm of the sum of the others' exponentials, so that neither a
    probability near 1 nor its complement is rounded away. What is before and what is after a
    channel are added up one by one: as cumulative sums, but the same on every run on CUDA too.

    >>> one_against_rest(torch.tensor([[[0.0], [2.0]]])).flatten().tolist()
    [-2.0, 2.0]
    """
    channels = logits.split(1, dim=1)
    before, after = [channels[0]], [channels[-1]]
    for one, other in zip(channels[1:-1], channels[-2:0:-1], strict=True):
        before.append(torch.logaddexp(before[-1], one))
        after.append(torch.logaddexp(after[-1], other))
    after.reverse()
    middle = [torch.logaddexp(low, high) for low, high in zip(before, after[1:], strict=False)]
    rest = torch.cat([after[0], *middle, before[-1]], dim=1)
    return logits - rest
