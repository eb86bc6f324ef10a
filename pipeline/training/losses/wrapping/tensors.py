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
