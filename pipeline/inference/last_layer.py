"""A network's last layer, applied where windows are blended: features are fewer than many classes.

Blending is linear, and so is a convolution of 1x1x1 voxels: the layer of the mean of features is
the mean of the layer's logits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_WORTH = 0.7  # of the classes: with more features there is little to save
_PROBE = 32  # voxels along each axis of the window that shows whether the layer is the last
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, eq=False)
class LastLayer:
    """Logits of features, voxel by voxel.

    Args:
        weight: (C, F).
        bias: (C,), or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return len(self.weight)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(..., F) -> logits (..., C), float32."""
        weight = self.weight.to(features.device, torch.float32)
        bias = None if self.bias is None else self.bias.to(features.device, torch.float32)
        return functional.linear(features.float(), weight, bias)


def without_last_layer(
    network: Callable[..., Any], shape: Sequence[int]
) -> tuple[nn.Module, LastLayer] | None:
    """The network up to its last layer, and that layer; None where that would save nothing.

    It must be a convolution of one voxel with fewer inputs than outputs, whose output is the
    network's. That is seen when a small window runs through it.

    Args:
        network: gives logits (B, C, *spatial); it stays as it is, and shares its weights.
        shape: (C_in, *roi) of its windows.
    """
    if not isinstance(network, nn.Module) or network.training:
        return None
    if getattr(network, "gives_probabilities", False):
        return None
    found = [(name, one) for name, one in network.named_modules() if name and _is_candidate(one)]
    for name, layer in reversed(found):
        if _is_last(network, layer, shape):
            features = _sharing_copy(network)
            parent, _, last = name.rpartition(".")
            setattr(features.get_submodule(parent), last, nn.Identity())
            weight = layer.weight.detach().flatten(1)
            return features, LastLayer(weight, None if layer.bias is None else layer.bias.detach())
    return None


def _is_candidate(module: nn.Module) -> bool:
    return (
        isinstance(module, _CONVOLUTIONS)
        and set(module.kernel_size) == {1}
        and set(module.stride) == {1}
        and not any(module.padding)
        and module.groups == 1
        and module.in_channels <= _WORTH * module.out_channels
    )


def _is_last(network: nn.Module, layer: nn.Module, shape: Sequence[int]) -> bool:
    """Whether the network hands on the layer's output as it is."""
    outputs: list[torch.Tensor] = []
    divisor = getattr(network, "divisor", (1,) * (len(shape) - 1))
    size = [
        min(roi, -(-_PROBE // step) * step) for roi, step in zip(shape[1:], divisor, strict=True)
    ]
    weight = next(network.parameters())
    hook = layer.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        with torch.inference_mode():
            window = torch.zeros(1, shape[0], *size, device=weight.device, dtype=weight.dtype)
            given = network(window)
    except Exception:  # whatever a network raises that takes no such window
        return False
    finally:
        hook.remove()
    return len(outputs) == 1 and given is outputs[0]


def _sharing_copy(network: nn.Module) -> nn.Module:
    """A copy whose tensors are the network's own."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
