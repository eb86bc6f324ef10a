"""Convolutions of small maps run in float32 when a network is trained in bfloat16 on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.conv_transpose2d,
    torch.conv_transpose3d,
)
_SMALL_MAP = 8  # voxels along an axis
_LARGE_KERNEL = 5


class SmallMapsInFloat32(TorchFunctionMode):
    """A context under autocast in which convolutions of small maps or large kernels are float32.

    On CPUs with AVX512-BF16 oneDNN's bfloat16 gradient of the weights
    (jit_avx512_core_bf16_convolution_bwd_weights, PyTorch 2.13) reads memory that nobody has
    written where a map is smaller than its kernel: it then gives NaN, or does not come back. Maps
    of fewer than 8 voxels along an axis cost next to nothing in float32.

    Code compiled by TorchScript is not seen by it, and stays as it is.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one torch function; called for each that is called inside the context."""
        if func in _CONVOLUTIONS and len(args) > 1 and _breaks(*args[:2]):
            with torch.autocast(args[0].device.type, enabled=False):
                return func(*(_to_float(value) for value in args), **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _breaks(maps: torch.Tensor, weight: torch.Tensor) -> bool:
    return min(maps.shape[2:]) < _SMALL_MAP or max(weight.shape[2:]) > _LARGE_KERNEL


def _to_float(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
