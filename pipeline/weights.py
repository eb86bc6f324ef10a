"""Putting a network on its device."""

from __future__ import annotations

from pathlib import Path

import torch

from .checkpoints import load_weights


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
    return network.to(device)
