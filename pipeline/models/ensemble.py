"""Several networks as one: the mean of their probabilities, or of their logits."""

from __future__ import annotations

from collections.abc import Iterable
from math import lcm
from typing import Any, cast

import torch
from torch import nn

ENSEMBLE = "ensemble"
"""The name of an architecture that is several."""


class Ensemble(nn.Module):
    """Mean over networks of the softmax of their logits, float32.

    For one channel, and for regions, it is the mean of their sigmoids.

    What comes out are probabilities, (B, C, *spatial), 0 to 1: the networks' logits need not be on
    one scale.

    Args:
        networks: with the same classes; each gives logits (B, C, *spatial).
        regions: channels overlap.
    """

    gives_probabilities = True

    def __init__(self, networks: Iterable[nn.Module], *, regions: bool = False) -> None:
        super().__init__()
        self.regions = regions
        self.networks = nn.ModuleList(networks)
        if not len(self.networks):
            raise ValueError("an ensemble needs a network")

    def forward(self, *inputs: Any, **options: Any) -> torch.Tensor:
        """Probabilities of a batch of windows."""
        total: torch.Tensor | None = None
        for network in self.networks:
            chances = _probabilities(network(*inputs, **options), self.regions)
            total = chances if total is None else total + chances
        return cast(torch.Tensor, total) / len(self.networks)


MEANS = ("probabilities", "logits")
"""What an ensemble takes the mean of."""


class EnsembleNetwork(nn.Module):
    """Several networks as one that gives logits, float32: those of the mean of their probabilities.

    As a network of a bundle it needs no word to any tool: softmax of what comes out, or sigmoid of
    one channel and of regions, is the mean of the members' own.

    Args:
        networks: with the same classes; each takes (B, C_in, *spatial) and gives logits.
        regions: channels overlap.
        mean: of what: "probabilities", or "logits", as nnU-Net takes that of its folds.
    """

    head_weights = (1.0,)

    def __init__(
        self,
        networks: Iterable[nn.Module],
        *,
        regions: bool = False,
        mean: str = "probabilities",
    ) -> None:
        super().__init__()
        if mean not in MEANS:
            raise ValueError(f"an ensemble's mean is that of {' or '.join(MEANS)}, not {mean!r}")
        self.regions = regions
        self.of_logits = mean == "logits"
        self.least = 1e-7  # of a probability, whose logarithm is taken
        self.networks = nn.ModuleList(networks)
        if not len(self.networks):
            raise ValueError("an ensemble needs a network")
        divisors = [tuple(getattr(network, "divisor", (1, 1, 1))) for network in self.networks]
        self.divisor = tuple(lcm(*sizes) for sizes in zip(*divisors, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C_in, *spatial) -> logits (B, C, *spatial)."""
        total = torch.zeros(1, device=x.device)
        for network in self.networks:  # one at a time: all of many classes are large
            logits = network(x)
            if self.of_logits:
                total = total + logits.float()
            else:
                total = total + _probabilities(logits, self.regions)
        mean = total / len(self.networks)
        if self.of_logits:
            return mean
        if mean.shape[1] == 1 or self.regions:
            return torch.logit(mean, eps=self.least)
        return mean.clamp_min(self.least).log()


def _probabilities(logits: torch.Tensor, regions: bool) -> torch.Tensor:
    alone = logits.shape[1] == 1 or regions
    return logits.float().sigmoid() if alone else logits.float().softmax(1)
