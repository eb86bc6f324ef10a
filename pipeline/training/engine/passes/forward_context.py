"""What surrounds the forward pass of a training: its number format, and what a CPU needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from ....models.devices import autocast
from .small_maps import SmallMapsInFloat32
from .upsampling import UpsamplingByMatrices


@contextmanager
def forward_context(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """A context for the forward pass of a training.

    Args:
        dtype: to compute in; None is float32.
    """
    with ExitStack() as stack:
        stack.enter_context(autocast(device, dtype))
        if device.type == "cpu":
            if dtype is not None:
                stack.enter_context(SmallMapsInFloat32())
            stack.enter_context(UpsamplingByMatrices())
        yield
