"""UCTransNet (Wang et al. 2021, arXiv 2109.04335)."""

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn
from torch.nn import functional

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import (
    ConvBlock,
    ConvUnit,
    check_input,
    check_statistics,
    convolution,
    crop_at_end,
    pad_at_end,
    spatial_size,
)
from .layers.channel_attention import ChannelCrossAttention
from .layers.channel_transformer import ChannelTransformer

WINDOW = {2: 224, 3: 96}
"""Spatial axes -> training window when none is given: the paper's in 2D."""


FACTS = NetworkFacts(
    title="UCTransNet",
    reference="Wang et al. UCTransNet: Rethinking the Skip Connections in U-Net from a "
    "Channel-Wise Perspective with Transformer. AAAI 2022. arXiv:2109.04335",
    small={"width": 8, "norm": "instance"},
    training={"learning_rate": 0.001},
    official="uctransnet",
    tiny=Tiny({"img_size": (32, 16, 16), "width": 4, "layers": 1, "heads": 2}),
)


@described(FACTS)
class UCTransNet(nn.Module):
    """U-Net whose four skips pass a transformer over channels, then channel attention.

    The channel transformer (CCT) lets every channel of a skip attend to the channels of all four.
    Where a skip meets the decoder, channel-wise cross attention (CCA) scales its channels. In 3D
    the paper's design is taken over axis by axis.

    Any size is taken: axes are padded at their end to a multiple of ``divisor`` by repeating the
    border, and the logits cropped back. On another window than the training one, the position
    embeddings are interpolated.

    Args:
        img_size: training window, one number or one per axis: the position embeddings are made for
            its tokens. By default 224 in 2D, the paper's, and 96 in 3D.
        width: channels of the finest level; the others have 2, 4, 8 and 8 times as many. Paper: 64.
        patch_size: voxels of a token on the finest level, one number or one per axis, multiples of
            8; the coarser levels have a half, a quarter, an eighth. Paper: 16.
        layers: of the transformer; paper: 4.
        heads: of its attention, each of full width; paper: 4.
        expansion: inner to outer channels of its feed-forward layers; paper: 4.
        embedding_dropout: rate of the dropout on the tokens; paper: 0.1.
        attention_dropout: rate of the dropout on attention maps and the attention's output; paper:
            0.1.
        norm: "batch" is the paper's; "instance" is steadier at a batch of 1 or 2.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: along each axis the
            smallest multiple of 16 and of the patch, 16 for the paper's.
        head_weights: (1.0,): the network has one head.

    Raises:
        ValueError: an argument out of range; in forward, an input of the wrong rank or channel
            count, or so small that the norm has a single value per channel to work on (16^3 voxels
            in a batch of 1, in training).
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        img_size: int | Sequence[int] | None = None,
        width: int = 64,
        patch_size: int | Sequence[int] = 16,
        layers: int = 4,
        heads: int = 4,
        expansion: int = 4,
        embedding_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        _check(width=width, layers=layers, heads=heads, expansion=expansion)
        for name, rate in (
            ("embedding_dropout", embedding_dropout),
            ("attention_dropout", attention_dropout),
        ):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} is {rate}: it must be at least 0 and less than 1.")
        patch, self.divisor, grid = token_grid(spatial_dims, img_size, patch_size)
        self.spatial_dims, self.in_channels, self.norm = spatial_dims, in_channels, norm
        self.head_weights = (1.0,)
        w1, w2, w3, w4 = widths = (width, 2 * width, 4 * width, 8 * width)

        def block(channels: int, outputs: int) -> ConvBlock:
            return ConvBlock(spatial_dims, channels, outputs, norm=norm)

        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self.inc = ConvUnit(spatial_dims, in_channels, w1, kernel_size=(3, 3, 3), norm=norm)
        self.down1, self.down2 = block(w1, w2), block(w2, w3)
        self.down3, self.down4 = block(w3, w4), block(w4, w4)
        self.transformer = ChannelTransformer(
            spatial_dims,
            widths,
            [[size // factor for size in patch] for factor in (1, 2, 4, 8)],
            grid,
            layers=layers,
            heads=heads,
            expansion=expansion,
            embedding_dropout=embedding_dropout,
            attention_dropout=attention_dropout,
            norm=norm,
        )
        self.up4, self.up3 = (
            Up(spatial_dims, w4, w3, norm=norm),
            Up(spatial_dims, w3, w2, norm=norm),
        )
        self.up2, self.up1 = (
            Up(spatial_dims, w2, w1, norm=norm),
            Up(spatial_dims, w1, w1, norm=norm),
        )
        self.head = convolution(spatial_dims, w1, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z])."""
        return self._fused(x)[0]

    @torch.jit.export
    def attend(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits, and the transformer's attention maps, for display.

        Maps: "layer1.scale1" (scale 1 is the finest) and so on -> (B, heads, C_i, C_1 + ... + C_4),
        which channels of all scales, the finest's first, each channel of scale i takes from: in
        0..1, rows summing to 1.
        """
        logits, attention = self._fused(x)
        maps: dict[str, Tensor] = {}
        for layer, scales in enumerate(attention):
            for scale, values in enumerate(scales):
                maps[f"layer{layer + 1}.scale{scale + 1}"] = values
        return logits, maps

    def _fused(self, x: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        check_input(x, self.in_channels, self.spatial_dims)
        skip1 = self.inc(pad_at_end(x, list(self.divisor), list(self.divisor)))
        skip2 = self.down1(self.pool(skip1))
        skip3 = self.down2(self.pool(skip2))
        skip4 = self.down3(self.pool(skip3))
        coarsest = self.pool(skip4)
        check_statistics(coarsest, self.norm, self.training)
        bottom = self.down4(coarsest)
        fused, maps = self.transformer([skip1, skip2, skip3, skip4])
        up4 = self.up4(fused[3], bottom)
        up3 = self.up3(fused[2], up4)
        up2 = self.up2(fused[1], up3)
        up1 = self.up1(fused[0], up2)
        return crop_at_end(self.head(up1), spatial_size(x)), maps


class Up(nn.Module):
    """One decoder level: CCA on the skip, the deeper features (nearest, x2) behind it, ConvBlock.

    Skip and deeper features have ``channels`` each, the output ``out_channels``.
    """

    def __init__(self, spatial_dims: int, channels: int, out_channels: int, *, norm: str) -> None:
        super().__init__()
        self.attention = ChannelCrossAttention(channels)
        self.block = ConvBlock(spatial_dims, 2 * channels, out_channels, norm=norm)

    def forward(self, skip: Tensor, deeper: Tensor) -> Tensor:
        """Skip (B, C, ...), deeper (B, C, half of ...) -> (B, out_channels, ... of the skip)."""
        raised = functional.interpolate(deeper, size=spatial_size(skip), mode="nearest")
        return self.block(torch.cat([self.attention(skip, raised), raised], dim=1))


def token_grid(
    spatial_dims: int,
    img_size: int | Sequence[int] | None = None,
    patch_size: int | Sequence[int] = 16,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of each axis: the finest level's patch, the network's divisor, the window's tokens.

    Raises:
        ValueError: spatial_dims is not 2 or 3, or a size is not what UCTransNet says of its
            argument.
    """
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
    window = _each_axis(
        "img_size", WINDOW[spatial_dims] if img_size is None else img_size, spatial_dims, 1
    )
    patch = _each_axis("patch_size", patch_size, spatial_dims, 8)
    divisor = tuple(
        size if size % 16 == 0 else 2 * size for size in patch
    )  # four poolings, and whole patches
    tokens = tuple(-(-w // d) * d // p for w, d, p in zip(window, divisor, patch, strict=True))
    return patch, divisor, tokens


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}: it must be a whole number of 1 or more.")


def _each_axis(
    name: str, value: int | Sequence[int], spatial_dims: int, unit: int
) -> tuple[int, ...]:
    values = (value,) * spatial_dims if isinstance(value, int) else tuple(value)
    if len(values) != spatial_dims or any(number < 1 or number % unit for number in values):
        kind = "whole number of 1 or more" if unit == 1 else f"positive multiple of {unit}"
        raise ValueError(
            f"{name} is {value}: give one {kind}, or {spatial_dims} of them, one per axis."
        )
    return values
