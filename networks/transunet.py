"""TransUNet (Chen et al. 2021, arXiv 2102.04306)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import (
    check_input,
    convolution,
    crop_at_end,
    normalisation,
    pad_at_end,
    resize,
    spatial_size,
)
from .layers.hybrid_resnet import HybridResNet
from .layers.vision_transformer import TransformerBlock, resize_positions

PATCH = 16  # voxels per axis of one token
WINDOW = {2: 224, 3: 96}
RESNET_CHANNELS = (
    3  # the published weights are of colour images, so a single channel is given three times
)
LAYER_EPS = 1e-6


FACTS = NetworkFacts(
    title="TransUNet",
    reference="Chen et al. TransUNet: Transformers Make Strong Encoders for Medical Image "
    "Segmentation. 2021. arXiv:2102.04306",
    small={
        "stem_width": 16,
        "units": [2, 2, 3],
        "groups": 8,
        "hidden_size": 96,
        "num_layers": 4,
        "num_heads": 3,
        "mlp_dim": 192,
        "decoder_widths": [64, 32, 16, 16, 8],
    },
    training={"learning_rate": 0.001},
    official="transunet",
    tiny=Tiny(
        {
            "img_size": (32, 16, 16),
            "stem_width": 4,
            "units": (1, 1, 1),
            "groups": 2,
            "hidden_size": 12,
            "num_layers": 2,
            "num_heads": 2,
            "mlp_dim": 24,
            "decoder_widths": (16, 8, 8, 4, 4),
        }
    ),
)


@described(FACTS)
class TransUNet(nn.Module):
    """Hybrid encoder and cascaded up-sampler: the paper's R50-ViT-B_16 at the defaults in 2D.

    A ResNet-50 that stops at /16 gives features of which each position is a token, and a vision
    transformer works on the tokens. A decoder of convolutions takes them back to the input's size,
    with the ResNet's maps at /8, /4 and /2 concatenated on the way. At 224^2 with 9 classes it has
    105,277,081 parameters (commonly printed as 105.28 M).

    The 3D form is the same network with 3D convolutions, linear interpolation along three axes and
    tokens of 16^3 voxels. It is not the paper's.

    The network is made for windows of ``img_size``, and takes others by resizing its position
    embeddings linearly. Any size is taken: axes are padded at their end to a multiple of
    ``divisor`` by repeating the border, and the logits cropped back.

    Args:
        img_size: voxels of the training window, one number or one per axis, multiples of 16; by
            default 224 in 2D (the paper's) and 96 in 3D.
        stem_width: channels of the ResNet at /2; at /4, /8 and /16 it has 4, 8 and 16 times as
            many. Paper: 64.
        units: of the ResNet's three stages; paper: (3, 4, 9).
        groups: of the ResNet's group norms, a divisor of ``stem_width``; paper: 32.
        hidden_size, num_layers, num_heads, mlp_dim: of the transformer; paper: 768, 12, 12, 3072.
        decoder_widths: channels at /16, /8, /4, /2 and 1; paper: (512, 256, 128, 64, 16).
        dropout_rate: on the embedded tokens and in the transformer's MLPs; paper: 0.1.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: (16, 16, 16), in 2D
            (16, 16).
        head_weights: (1.0,), for it has one head.

    Raises:
        ValueError: an argument out of range; in forward, an input of the wrong rank or channel
            count, or one that makes a single token (16 voxels or fewer on every axis), on which
            norms have nothing to work.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        img_size: int | Sequence[int] | None = None,
        stem_width: int = 64,
        units: Sequence[int] = (3, 4, 9),
        groups: int = 32,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_dim: int = 3072,
        decoder_widths: Sequence[int] = (512, 256, 128, 64, 16),
        dropout_rate: float = 0.1,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
        _check(hidden_size, num_layers, num_heads, mlp_dim, decoder_widths, dropout_rate)
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.divisor, self.head_weights = (PATCH,) * spatial_dims, (1.0,)
        self.grid = _token_grid(
            WINDOW[spatial_dims] if img_size is None else img_size, spatial_dims
        )

        channels = RESNET_CHANNELS if in_channels == 1 else in_channels
        self.resnet = HybridResNet(
            spatial_dims, channels, width=stem_width, units=units, groups=groups
        )
        self.embedding = convolution(spatial_dims, self.resnet.widths[-1], hidden_size)
        self.positions = nn.Parameter(torch.zeros(1, math.prod(self.grid), hidden_size))
        self.dropout = nn.Dropout(dropout_rate)
        self.layers = nn.ModuleList(
            _layer(hidden_size, num_heads, mlp_dim, dropout_rate) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, eps=LAYER_EPS)

        half, quarter, eighth, _ = self.resnet.widths
        self.bridge = ConvNormUnit(spatial_dims, hidden_size, decoder_widths[0])
        self.ups = nn.ModuleList(
            CascadeBlock(spatial_dims, decoder_widths[level], skip, decoder_widths[level + 1])
            for level, skip in enumerate((eighth, quarter, half, 0))
        )
        self.head = convolution(
            spatial_dims, decoder_widths[-1], out_channels, kernel_size=3, padding=1
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]); no softmax inside."""
        check_input(x, self.in_channels, self.spatial_dims)
        size = spatial_size(x)
        patch = self.divisor[0]
        if max(size) <= patch:
            raise ValueError(
                f"the window is too small: {size} makes a single token, and norms see one value a "
                "channel at /16; use "
                f"one of more than {patch} voxels along at least one axis."
            )
        x = pad_at_end(x, list(self.divisor), list(self.divisor))
        if self.in_channels == 1:
            x = torch.cat([x, x, x], dim=1)  # the ResNet takes RGB
        coarsest, skips = self.resnet(x)
        features = self.bridge(self._transform(self.embedding(coarsest)))
        for level, up in enumerate(self.ups):
            features = up(features, skips[level] if level < len(skips) else None)
        return crop_at_end(self.head(features), size)

    def _transform(self, x: Tensor) -> Tensor:
        """The transformer on a grid of tokens, (B, hidden_size, *grid) -> the same shape."""
        grid = spatial_size(x)
        positions = resize_positions(self.positions, list(self.grid), grid, align_corners=True)
        tokens = self.dropout(x.flatten(2).transpose(1, 2) + positions)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, grid)


class CascadeBlock(nn.Module):
    """One step of the up-sampler: twice the size, the skip behind it, two ConvNormUnits."""

    def __init__(
        self, spatial_dims: int, deeper_channels: int, skip_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.first = ConvNormUnit(spatial_dims, deeper_channels + skip_channels, out_channels)
        self.second = ConvNormUnit(spatial_dims, out_channels, out_channels)

    def forward(self, deeper: Tensor, skip: Tensor | None = None) -> Tensor:
        """Deeper (B, C, ...), skip (B, S, twice ...) -> (B, out_channels, twice ...)."""
        raised = resize(deeper, [2 * size for size in spatial_size(deeper)], align_corners=True)
        return self.second(self.first(raised if skip is None else torch.cat([raised, skip], dim=1)))


class ConvNormUnit(nn.Sequential):
    """3x3x3 convolution without bias that keeps the size, batch norm, ReLU."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = convolution(
            spatial_dims, in_channels, out_channels, kernel_size=3, padding=1, bias=False
        )
        self.add_module("conv", conv)
        self.add_module("norm", normalisation(spatial_dims, out_channels, "batch"))
        self.add_module("relu", nn.ReLU(inplace=True))


def _layer(width: int, heads: int, mlp_width: int, dropout: float) -> TransformerBlock:
    """A layer as released: no dropout behind the attention; Xavier weights in the MLP.

    The MLP's biases begin next to 0.
    """
    layer = TransformerBlock(width, heads, mlp_width, dropout=dropout, eps=LAYER_EPS)
    layer.attention.dropout.p = 0.0
    for linear in (layer.mlp.fc1, layer.mlp.fc2):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.normal_(linear.bias, std=1e-6)
    return layer


def _check(
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    mlp_dim: int,
    decoder_widths: Sequence[int],
    dropout_rate: float,
) -> None:
    if num_heads < 1 or hidden_size < 1 or hidden_size % num_heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of num_heads {num_heads}.")
    if len(decoder_widths) != 5 or any(width < 1 for width in decoder_widths):
        raise ValueError(
            f"decoder_widths is {list(decoder_widths)}: give five positive numbers, from /16 to 1."
        )
    if num_layers < 1 or mlp_dim < 1:
        raise ValueError(
            f"num_layers is {num_layers} and mlp_dim {mlp_dim}: both must be 1 or more."
        )
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"dropout_rate is {dropout_rate}: it must be at least 0 and less than 1.")


def _token_grid(img_size: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    size = (img_size,) * spatial_dims if isinstance(img_size, int) else tuple(img_size)
    if len(size) != spatial_dims or any(voxels < PATCH or voxels % PATCH for voxels in size):
        raise ValueError(
            f"img_size is {img_size}: transunet takes {spatial_dims} multiples of {PATCH} voxels, "
            "for example "
            f"{WINDOW[spatial_dims]}."
        )
    return tuple(voxels // PATCH for voxels in size)
