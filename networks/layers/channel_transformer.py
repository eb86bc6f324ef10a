"""The channel-wise cross fusion transformer of UCTransNet (Wang et al. 2021, arXiv 2109.04335).

Skip connections of several scales become as many tokens each, and every channel of a scale attends
to the channels of all scales: the attention maps are channel x channel, whatever the number of
tokens.
"""

from collections.abc import Sequence

import torch
from monai.networks.blocks import MLPBlock
from torch import Tensor, nn
from torch.nn import functional

from .blocks import ConvUnit, convolution, spatial_size

EPS = 1e-6
"""Of every layer norm."""


class ChannelTransformer(nn.Module):
    """CCT: feature maps of several scales, enriched by attention between all their channels.

    Args:
        widths: channels of the scales, the finest first.
        patches: of each scale, the voxels of a token along each axis. All scales must have as many
            tokens.
        grid: tokens along each axis of the training window. Another grid gets the position
            embeddings interpolated linearly (``align_corners=False``).
        layers: attention and feed-forward layers.
        heads: of the attention, each of full width.
        expansion: inner channels of the feed-forward layers to their outer ones.
        embedding_dropout: rate of the elementwise dropout on the tokens.
        attention_dropout: rate of the dropout on the attention maps and on the attention's output.
        norm: after the convolutions that follow, "batch" or "instance".
    """

    def __init__(
        self,
        spatial_dims: int,
        widths: Sequence[int],
        patches: Sequence[Sequence[int]],
        grid: Sequence[int],
        *,
        layers: int = 4,
        heads: int = 4,
        expansion: int = 4,
        embedding_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            Embedding(spatial_dims, width, patch, grid, dropout=embedding_dropout)
            for width, patch in zip(widths, patches, strict=True)
        )
        self.layers = nn.ModuleList(
            Layer(widths, heads=heads, expansion=expansion, dropout=attention_dropout)
            for _ in range(layers)
        )
        self.reconstructions = nn.ModuleList(
            Reconstruction(spatial_dims, width, norm=norm) for width in widths
        )

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[list[Tensor]]]:
        """One (B, C_i, X, Y[, Z]) per scale -> as many of the same shapes, and the attention maps.

        Maps, a list of layers of a list of scales: (B, heads, C_i, all channels), rows that sum to
        1.
        """
        grid: list[int] = []
        tokens: list[Tensor] = []
        for i, embed in enumerate(self.embeddings):
            embedded = embed(features[i])
            grid = spatial_size(embedded)
            tokens.append(embedded.flatten(2).transpose(1, 2))
        maps: list[list[Tensor]] = []
        for layer in self.layers:
            tokens, attention = layer(tokens)
            maps.append(attention)
        fused: list[Tensor] = []
        for i, reconstruct in enumerate(self.reconstructions):
            fused.append(reconstruct(tokens[i], grid, features[i]))
        return fused, maps


class Embedding(nn.Module):
    """Tokens of one scale, on their grid: convolution of kernel = stride = ``patch``.

    The position embedding is added, then dropout.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        patch: Sequence[int],
        grid: Sequence[int],
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        size = tuple(patch)
        self.patch = convolution(spatial_dims, channels, channels, kernel_size=size, stride=size)
        self.position = nn.Parameter(torch.zeros(1, channels, *grid))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) -> (B, C, tokens along X, Y[, Z])."""
        x = self.patch(x)
        return self.dropout(x + self.position_on(spatial_size(x)))

    def position_on(self, grid: list[int]) -> Tensor:
        """The position embeddings (1, C, ...) on this grid; unchanged on the training window's."""
        # Interpolation to the same grid changes no bit. It is left out only in training, where its
        # backward on CUDA is not deterministic; in eval the question alone would hold an export
        # with free sizes back.
        if self.training and grid == spatial_size(self.position):
            return self.position
        mode = "trilinear" if self.position.dim() == 5 else "bilinear"
        return functional.interpolate(self.position, size=grid, mode=mode, align_corners=False)


class Layer(nn.Module):
    """Keys and values from the channels of all scales together, then each scale's own ScaleLayer.

    The projections of all heads stand in one weight, the first head's first.
    """

    def __init__(
        self, widths: Sequence[int], *, heads: int, expansion: int, dropout: float
    ) -> None:
        super().__init__()
        together = sum(widths)
        self.heads = heads
        self.norm = nn.LayerNorm(together, eps=EPS)
        self.key = nn.Linear(together, heads * together, bias=False)
        self.value = nn.Linear(together, heads * together, bias=False)
        self.scales = nn.ModuleList(
            ScaleLayer(width, heads=heads, expansion=expansion, dropout=dropout) for width in widths
        )

    def forward(self, tokens: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """One (B, tokens, C_i) per scale -> the same shapes, and a map per scale.

        A map is (B, heads, C_i, sum of all C_i).
        """
        together = self.norm(torch.cat(tokens, dim=2))
        key = split_heads(self.key(together), self.heads)
        value = split_heads(self.value(together), self.heads)
        outputs: list[Tensor] = []
        maps: list[Tensor] = []
        for i, scale in enumerate(self.scales):
            output, attention = scale(tokens[i], key, value)
            outputs.append(output)
            maps.append(attention)
        return outputs, maps


class ScaleLayer(nn.Module):
    """One scale's share of a layer: attention to the channels of all scales, feed-forward.

    Both are residual, with a layer norm before. The heads have full width and their mean is taken.
    """

    def __init__(self, channels: int, *, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(channels, eps=EPS)
        self.query = nn.Linear(channels, heads * channels, bias=False)
        self.attention_dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels, channels, bias=False)
        self.output_dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=EPS)
        self.feed_forward = MLPBlock(channels, expansion * channels)

    def forward(self, tokens: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, n, C), key and value (B, heads, n, KV) -> as tokens, and (B, heads, C, KV)."""
        query = split_heads(self.query(self.attention_norm(tokens)), self.heads)
        attention = attention_map(query, key)
        context = self.attention_dropout(attention).to(value.dtype) @ value.transpose(2, 3)
        tokens = tokens + self.output_dropout(self.output(context.mean(dim=1).transpose(1, 2)))
        return tokens + self.feed_forward(self.feed_forward_norm(tokens)), attention


class Reconstruction(nn.Module):
    """Tokens of one scale back on its voxels (nearest), convolution, norm, ReLU.

    The convolution is 1x1x1; the scale's input is added.
    """

    def __init__(self, spatial_dims: int, channels: int, *, norm: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.unit = ConvUnit(spatial_dims, channels, channels, norm=norm)

    def forward(self, tokens: Tensor, grid: list[int], skip: Tensor) -> Tensor:
        """Tokens (B, product of grid, C), skip (B, C, X, Y[, Z]) -> as the skip."""
        x = self.norm(tokens).transpose(1, 2).unflatten(2, grid)
        return skip + self.unit(functional.interpolate(x, size=spatial_size(skip), mode="nearest"))


def attention_map(query: Tensor, key: Tensor) -> Tensor:
    """Which channels of ``key`` each channel of ``query`` takes from: rows in 0..1 that sum to 1.

    Scores, the products over all tokens by 1 / sqrt(KV), are brought to mean 0 and variance 1 over
    each map (instance norm, eps 1e-5) before the softmax, at least in single precision.

    Args:
        query: (B, heads, tokens, C).
        key: (B, heads, tokens, KV).

    Returns:
        (B, heads, C, KV).
    """
    # the factor goes on the smaller one, and before the product: half precision reaches no further
    # than 65504
    scores = (query * key.shape[3] ** -0.5).transpose(2, 3) @ key
    if scores.dtype == torch.float16 or scores.dtype == torch.bfloat16:
        scores = scores.float()
    return torch.softmax(functional.instance_norm(scores, eps=1e-5), dim=3)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, tokens, heads * C) -> (B, heads, tokens, C)."""
    return x.unflatten(2, [heads, -1]).transpose(1, 2)
