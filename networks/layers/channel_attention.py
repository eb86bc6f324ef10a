"""Channel-wise cross attention of UCTransNet (Wang et al. 2021, arXiv 2109.04335)."""

import torch
from torch import Tensor, nn


class ChannelCrossAttention(nn.Module):
    """CCA: a skip's channels, each scaled by one coefficient from means of skip and decoder.

    Each of the two inputs is averaged over all positions and passes a linear layer of its own. The
    sigmoid of the mean of the two (the paper's text adds them, its published code takes the mean)
    scales the channel.

    Args:
        channels: of the skip, and of the decoder's features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_skip = nn.Linear(channels, channels)
        self.from_decoder = nn.Linear(channels, channels)

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        """Skip and decoder (B, channels, X, Y[, Z]) of any sizes -> as the skip, not negative."""
        a = self.from_skip(skip.flatten(2).mean(dim=2)) + self.from_decoder(
            decoder.flatten(2).mean(dim=2)
        )
        scale = torch.sigmoid(a / 2)
        return torch.relu(skip * scale.view(list(scale.shape) + [1] * (skip.dim() - 2)))
