"""The decoder levels of TransFuse: up-sampling, an attention gate on the skip, DoubleConv."""

import torch
from torch import Tensor, nn

from .blocks import ConvUnit, resize, spatial_size


class Up(nn.Module):
    """One decoder level: linear x2 (align_corners), the gated skip before it, DoubleConv.

    Deeper (B, deeper_channels, ...), skip (B, skip_channels, twice ...) or None when
    ``skip_channels`` is 0 -> (B, out_channels, twice ...).
    """

    def __init__(
        self, spatial_dims: int, deeper_channels: int, skip_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.gate = (
            AttentionGate(spatial_dims, deeper_channels, skip_channels, out_channels)
            if skip_channels
            else None
        )
        self.block = DoubleConv(spatial_dims, deeper_channels + skip_channels, out_channels)

    def forward(self, deeper: Tensor, skip: Tensor | None = None) -> Tensor:
        """See the class."""
        # sizes are multiples of 16, so twice the deeper map is the skip's size: nothing is left to
        # pad
        raised = resize(deeper, [2 * size for size in spatial_size(deeper)], True)
        if self.gate is not None and skip is not None:
            raised = torch.cat([self.gate(raised, skip), raised], dim=1)
        return self.block(raised)


class AttentionGate(nn.Module):
    """The skip times one coefficient per voxel.

    The coefficient is sigmoid(BN(conv1(relu(BN(conv1(g)) + BN(conv1(skip)))))).
    g (B, gating_channels, ...) and skip (B, skip_channels, ...), of one size -> as the skip.
    """

    def __init__(
        self, spatial_dims: int, gating_channels: int, skip_channels: int, inner_channels: int
    ) -> None:
        super().__init__()
        self.project_gating = ConvUnit(
            spatial_dims, gating_channels, inner_channels, activation=False
        )
        self.project_skip = ConvUnit(spatial_dims, skip_channels, inner_channels, activation=False)
        self.score = ConvUnit(spatial_dims, inner_channels, 1, activation=False)

    def forward(self, g: Tensor, skip: Tensor) -> Tensor:
        """See the class."""
        return skip * torch.sigmoid(
            self.score(torch.relu(self.project_gating(g) + self.project_skip(skip)))
        )


class DoubleConv(nn.Module):
    """relu(conv3-BN-ReLU-conv3-BN of x + conv1-BN of x), convolutions with bias."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        kernel = (3, 3, 3)
        self.first = ConvUnit(spatial_dims, in_channels, out_channels, kernel_size=kernel)
        self.second = ConvUnit(
            spatial_dims, out_channels, out_channels, kernel_size=kernel, activation=False
        )
        self.shortcut = ConvUnit(spatial_dims, in_channels, out_channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, out_channels, ...), same size."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))
