"""Making a plan's network and putting it on its device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..data.errors import ConfigError
from ..networks import build
from .checkpoints import load_weights
from .precision import choose_device


def build_network(plan: Mapping[str, Any], *, in_channels: int, out_channels: int) -> torch.nn.Module:
    """The network that a plan names, with initial weights.

    Args:
        plan: its "name" in networks.registry, and options of it.

    Raises:
        ConfigError: no such network or option, or a value that it refuses.
    """
    try:
        return build(**plan, in_channels=in_channels, out_channels=out_channels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"plan::network {dict(plan)}: {error}") from error


def head_weights(network: torch.nn.Module) -> list[float] | None:
    """The weights in the loss of the outputs that a network with deep supervision gives in training; None for one."""
    weights = list(getattr(network, "head_weights", ()))
    return weights if len(weights) > 1 else None


def to_device(
    network: torch.nn.Module, device: str | torch.device, *, weights: str | Path | None = None
) -> torch.nn.Module:
    """The network on a device, channels innermost in memory, with the weights of a checkpoint where one is given.

    Raises:
        CheckpointError: the checkpoint is missing or belongs to another network.
    """
    if weights is not None:
        load_weights(network, weights)
    is_3d = any(parameter.ndim == 5 for parameter in network.parameters())
    for parameter in network.parameters():
        if parameter.ndim == (5 if is_3d else 4):
            layout = torch.channels_last_3d if is_3d else torch.channels_last
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return network.to(choose_device(device))
