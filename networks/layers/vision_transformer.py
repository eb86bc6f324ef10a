"""The vision transformer: pre-norm blocks, positions on a grid, a ViT giving a feature map.

Papers: Dosovitskiy et al. 2021, ViT (arXiv 2010.11929); Touvron et al. 2021, DeiT (arXiv
2012.12877).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import convolution, resize, spatial_size


class TransformerBlock(nn.Module):
    """Pre-norm block: x + attention(norm1(x)), then x + mlp(norm2(x)); (B, n, C) -> (B, n, C).

    Args:
        width: channels C of a token. heads: attention heads, a divisor of ``width``.
        mlp_width: hidden channels of the MLP.
        dropout: after the attention's projection and after both layers of the MLP; never on the
            attention coefficients.
        eps: of both layer norms.

    Raises:
        ValueError: ``width`` is not a multiple of ``heads``.
    """

    def __init__(
        self, width: int, heads: int, mlp_width: int, *, dropout: float = 0.0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attention = SelfAttention(width, heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, C) -> (B, n, C)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SelfAttention(nn.Module):
    """Multi-head attention of tokens among themselves, scores / sqrt(C / heads), with biases.

    ``qkv`` gives queries, keys and values in that order, each as ``heads`` runs of C / heads
    channels.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(
                f"the transformer's width {width} must be a multiple of its heads, {heads}."
            )
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, C) -> (B, n, C)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.dropout(self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)))


class MLP(nn.Module):
    """Linear, exact GELU, dropout, linear, dropout, on each token by itself."""

    def __init__(self, width: int, mlp_width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, mlp_width)
        self.fc2 = nn.Linear(mlp_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, C) -> (B, n, C)."""
        return self.dropout(self.fc2(self.dropout(functional.gelu(self.fc1(x)))))


class VisionTransformer(nn.Module):
    """ViT without class token: patches, positions, blocks, final norm, back on the patch grid.

    (B, in_channels, X, Y[, Z]) -> (B, width, X / patch, Y / patch[, Z / patch]). Sizes must be
    multiples of ``patch``; for another window than ``img_size`` the position embedding is
    interpolated to its grid.

    Args:
        img_size: voxels per axis of the window the position embedding belongs to, multiples of
            ``patch``.
        patch: voxels per axis of one token. width, depth, heads: of the transformer.
        mlp_width: hidden channels of the blocks' MLPs; None for 4 * width.
        dropout: after the position embedding, and in the blocks; eps: of every layer norm.
        align_corners: of the interpolation of positions.

    Attributes:
        grid: tokens per axis at ``img_size``.

    Raises:
        ValueError: ``img_size`` is not made of multiples of ``patch``, or ``width`` of ``heads``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        img_size: Sequence[int],
        *,
        patch: int = 16,
        width: int = 384,
        depth: int = 8,
        heads: int = 6,
        mlp_width: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-6,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if len(img_size) != spatial_dims or any(size < patch or size % patch for size in img_size):
            raise ValueError(
                f"img_size is {tuple(img_size)}: give {spatial_dims} multiples of the patch, "
                f"{patch} voxels per axis."
            )
        if depth < 1:
            raise ValueError(f"the transformer's depth is {depth}: it needs a block or more.")
        self.grid = tuple(size // patch for size in img_size)
        self.align_corners = align_corners
        self.patches = convolution(
            spatial_dims, in_channels, width, kernel_size=patch, stride=patch
        )
        self.positions = nn.Parameter(torch.zeros(1, math.prod(self.grid), width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, mlp_width or 4 * width, dropout=dropout, eps=eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> (B, width, X / patch, Y / patch[, Z / patch])."""
        x = self.patches(x)
        grid = spatial_size(x)
        positions = resize_positions(self.positions, list(self.grid), grid, self.align_corners)
        tokens = self.dropout(x.flatten(2).transpose(1, 2) + positions)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, grid)


def resize_positions(
    positions: Tensor, grid: list[int], new_grid: list[int], align_corners: bool
) -> Tensor:
    """Position embeddings (1, n, C) of a token grid, interpolated linearly to another grid.

    Tokens are in the order of ``Tensor.flatten``, the last axis fastest. An unchanged grid gives
    ``positions`` itself. The grids have two or three axes.

    Raises:
        ValueError: n is not the product of ``grid``, or the grids differ in their number of axes.
    """
    tokens = 1
    for size in grid:  # TorchScript has no math.prod
        tokens *= size
    if positions.shape[1] != tokens or len(grid) != len(new_grid):
        raise ValueError(
            f"{positions.shape[1]} position embeddings of the token grid {grid} cannot go to "
            f"{new_grid}: "
            "there must be one per token, and as many axes."
        )
    if grid == new_grid:
        return positions
    on_grid = positions.transpose(1, 2).unflatten(2, grid)
    return resize(on_grid, new_grid, align_corners).flatten(2).transpose(1, 2)


def _initialise(module: nn.Module) -> None:
    """DeiT's initial weights of the blocks; layer norms begin at PyTorch's 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
