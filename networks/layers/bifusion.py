"""BiFusion: how TransFuse joins CNN and transformer features (Zhang et al. 2021, 2102.08005)."""

import torch
from monai.networks.layers.factories import Dropout
from torch import Tensor, nn

from .blocks import ConvUnit, convolution, normalisation


class BiFusion(nn.Module):
    """Spatial attention on the CNN's map, channel attention on the transformer's, their product.

    The three are fused by a residual unit.

    g (B, cnn_channels, ...) and x (B, transformer_channels, ...), of one spatial size -> (B,
    out_channels, ...): ``dropout(residual(cat[spatial_attention(g), channel_attention(x),
    bilinear(g, x)]))``.

    Args:
        inner_channels: channels of the product branch.
        reduction: the channel attention's hidden layer has transformer_channels / reduction
            channels.
        dropout: channel dropout at the end.

    Raises:
        ValueError: ``reduction`` leaves no hidden channel, or ``out_channels`` is below 2.
    """

    def __init__(
        self,
        spatial_dims: int,
        cnn_channels: int,
        transformer_channels: int,
        inner_channels: int,
        out_channels: int,
        *,
        reduction: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not 1 <= reduction <= transformer_channels:
            raise ValueError(
                f"reduction is {reduction}: give 1 to the transformer's channels, "
                f"{transformer_channels}."
            )
        hidden = transformer_channels // reduction
        self.project_cnn = ConvUnit(spatial_dims, cnn_channels, inner_channels, activation=False)
        self.project_transformer = ConvUnit(
            spatial_dims, transformer_channels, inner_channels, activation=False
        )
        self.product = ConvUnit(spatial_dims, inner_channels, inner_channels, kernel_size=(3, 3, 3))
        self.spatial_conv = convolution(spatial_dims, 2, 1, kernel_size=7, padding=3, bias=False)
        self.spatial_norm = normalisation(spatial_dims, 1, "batch")
        self.squeeze = convolution(spatial_dims, transformer_channels, hidden)
        self.excite = convolution(spatial_dims, hidden, transformer_channels)
        self.residual = PreActivationResidual(
            spatial_dims, cnn_channels + transformer_channels + inner_channels, out_channels
        )
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        """CNN map g and transformer map x, of one size -> (B, out_channels, ...)."""
        branches = [self.spatial_attention(g), self.channel_attention(x), self.bilinear(g, x)]
        return self.dropout(self.residual(torch.cat(branches, dim=1)))

    def bilinear(self, g: Tensor, x: Tensor) -> Tensor:
        """relu(BN(conv3(BN(conv1(g)) * BN(conv1(x))))): (B, inner_channels, ...)."""
        return self.product(self.project_cnn(g) * self.project_transformer(x))

    def spatial_attention(self, g: Tensor) -> Tensor:
        """G times one coefficient per voxel, from its channels' maximum and mean; shape of g."""
        summary = torch.cat([g.amax(dim=1, keepdim=True), g.mean(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.spatial_norm(self.spatial_conv(summary))) * g

    def channel_attention(self, x: Tensor) -> Tensor:
        """X times one coefficient a channel, found from its mean over space; shape of x."""
        mean = x.mean(dim=list(range(2, x.dim())), keepdim=True)
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(mean)))) * x


class PreActivationResidual(nn.Module):
    """Bottleneck with the norms first, and a skip.

    BN-ReLU-conv1, BN-ReLU-conv3, BN-ReLU-conv1, then the sum with the skip; no ReLU after it.

    (B, in_channels, ...) -> (B, out_channels, ...), same size; out_channels / 2 channels between.
    The skip is x itself when the widths are equal, else a 1x1 convolution. Every convolution has a
    bias.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = out_channels // 2
        if middle < 1:
            raise ValueError(
                f"out_channels is {out_channels}: the bottleneck has half of them, so give 2 or "
                "more."
            )
        self.norm1 = normalisation(spatial_dims, in_channels, "batch")
        self.conv1 = convolution(spatial_dims, in_channels, middle)
        self.norm2 = normalisation(spatial_dims, middle, "batch")
        self.conv2 = convolution(spatial_dims, middle, middle, kernel_size=3, padding=1)
        self.norm3 = normalisation(spatial_dims, middle, "batch")
        self.conv3 = convolution(spatial_dims, middle, out_channels)
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = convolution(spatial_dims, in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, out_channels, ...)."""
        y = self.conv1(torch.relu(self.norm1(x)))
        y = self.conv2(torch.relu(self.norm2(y)))
        y = self.conv3(torch.relu(self.norm3(y)))
        return y + self.skip(x)
