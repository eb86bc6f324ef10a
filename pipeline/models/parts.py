"""Several networks with labels of their own, which run one after another."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ...data.errors import ConfigError

PARTS = "parts"
"""The name of an architecture that is several parts."""


class PartsNetwork(nn.Module):
    """Networks of parts in one module, so that their weights are one file.

    Args:
        networks: of each part.
    """

    head_weights = (1.0,)

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refuse: there is no one tensor of scores.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "this network is several, with labels of their own, and gives no one tensor: run it "
            "with `gridgate infer`; to export, import a part alone"
        )


def part_of(network: nn.Module, number: int) -> nn.Module:
    """The network of a part.

    Raises:
        ConfigError: it is no PartsNetwork.
    """
    if not isinstance(network, PartsNetwork):
        raise ConfigError(
            "a bundle of several parts is run with its own weights alone, not as "
            f"{type(network).__name__}"
        )
    return network.networks[number]
