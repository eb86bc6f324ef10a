"""UNETR (arXiv 2103.10504): MONAI's network with the paper's settings, for any window."""

from collections.abc import Sequence
from typing import Any

from monai.networks.nets import UNETR
from torch import Tensor

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import check_input, crop_at_end, pad_at_end, resize, spatial_size

PATCH = 16  # voxels per axis of one token; MONAI's UNETR knows no other


class AnyWindowUNETR(UNETR):
    """MONAI's UNETR, parameters and arithmetic, that takes other windows than ``img_size`` too.

    (B, in_channels, ...) -> logits (B, out_channels, ...). At ``img_size`` the output is MONAI's,
    bit for bit. For another size the position embeddings are interpolated linearly (align_corners
    False) to its grid of tokens; sizes that are no multiples of 16 are padded at their end by
    repeating the border, and the logits cropped back.

    MONAI registers a norm for cross-attention in each block (``norm_cross_attn``, 24 tensors) that
    UNETR never uses. They are frozen here, so that every parameter that asks for a gradient gets
    one and DistributedDataParallel needs no ``find_unused_parameters``.

    Args:
        img_size: voxels of the training window, one number or one per axis, multiples of 16; paper:
            96.
        options: MONAI's.

    Attributes:
        divisor: (16, 16, 16), in 2D (16, 16).

    Raises:
        ValueError: ``img_size`` is not made of multiples of 16, or ``hidden_size`` of
            ``num_heads``; in forward, an input of the wrong rank or channel count.
    """

    grid: list[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        img_size: int | Sequence[int],
        *,
        spatial_dims: int = 3,
        hidden_size: int = 768,
        num_heads: int = 12,
        **options: Any,
    ) -> None:
        size = (img_size,) * spatial_dims if isinstance(img_size, int) else tuple(img_size)
        if len(size) != spatial_dims or any(voxels < PATCH or voxels % PATCH for voxels in size):
            raise ValueError(
                f"img_size is {img_size}: unetr takes {spatial_dims} multiples of {PATCH} voxels, "
                "for example 96."
            )
        if hidden_size % num_heads:
            raise ValueError(
                f"hidden_size {hidden_size} must be a multiple of num_heads {num_heads}."
            )
        super().__init__(
            in_channels,
            out_channels,
            size,
            spatial_dims=spatial_dims,
            hidden_size=hidden_size,
            num_heads=num_heads,
            **options,
        )
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.divisor, self.head_weights = (PATCH,) * spatial_dims, (1.0,)
        self.grid = [voxels // PATCH for voxels in size]
        for name, parameter in self.named_parameters():
            if ".norm_cross_attn." in name:
                parameter.requires_grad_(False)

    def forward(self, x_in: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]); no softmax inside."""
        check_input(x_in, self.in_channels, self.spatial_dims)
        x = pad_at_end(x_in, list(self.divisor), list(self.divisor))
        grid = [voxels // 16 for voxels in spatial_size(x)]
        tokens = self._embed(x, grid)
        maps: list[Tensor] = []
        for block in self.vit.blocks:
            tokens = block(tokens)
            maps.append(tokens)
        fine, middle, coarse = (
            _to_map(maps[3], grid),
            _to_map(maps[6], grid),
            _to_map(maps[9], grid),
        )
        raised = self.decoder5(_to_map(self.vit.norm(tokens), grid), self.encoder4(coarse))
        raised = self.decoder4(raised, self.encoder3(middle))
        raised = self.decoder3(raised, self.encoder2(fine))
        logits = self.out(self.decoder2(raised, self.encoder1(x)))
        return crop_at_end(logits, spatial_size(x_in))

    def _embed(self, x: Tensor, grid: list[int]) -> Tensor:
        """(B, in_channels, ...) -> tokens (B, n, hidden) with their positions."""
        embedding = self.vit.patch_embedding
        tokens = embedding.patch_embeddings(x)
        if tokens.dim() != 3:  # of the projection by a convolution
            tokens = tokens.flatten(2).transpose(1, 2)
        positions: Tensor = embedding.position_embeddings
        if grid != self.grid:
            positions = (
                resize(_to_map(positions, self.grid), grid, False).flatten(2).transpose(1, 2)
            )
        return embedding.dropout(tokens + positions)


FACTS = NetworkFacts(
    title="UNETR",
    reference="Hatamizadeh et al. UNETR: Transformers for 3D Medical Image Segmentation. "
    "WACV 2022. arXiv:2103.10504",
    small={"feature_size": 8, "hidden_size": 192, "mlp_dim": 384, "num_heads": 6},
    training={"learning_rate": 0.0001, "weight_decay": 1e-05, "warmup_iterations": 500},
    official="unetr",
    tiny=Tiny(
        {
            "img_size": (32, 16, 16),
            "hidden_size": 12,
            "mlp_dim": 24,
            "num_heads": 2,
            "feature_size": 2,
        }
    ),
)


@described(FACTS)
def unetr(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 14,
    *,
    img_size: int | Sequence[int] = 96,
    feature_size: int = 16,
    hidden_size: int = 768,
    mlp_dim: int = 3072,
    num_heads: int = 12,
    dropout_rate: float = 0.0,
) -> AnyWindowUNETR:
    """MONAI's UNETR as in the paper: linear patch projection, residual blocks, 12 layers.

    At the defaults it has 92,802,478 parameters, of which 92,784,046 are used. State-dict keys are
    MONAI's, which are the authors'.

    Args:
        img_size: voxels of the training window, one number or one per axis, multiples of 16; paper:
            96. The position embeddings have its size; see AnyWindowUNETR for others.
        feature_size: channels of the finest level. hidden_size, mlp_dim, num_heads: of the
            transformer.

    Raises:
        ValueError: ``img_size`` is not made of multiples of 16, or ``hidden_size`` of
            ``num_heads``.
    """
    return AnyWindowUNETR(
        in_channels,
        out_channels,
        img_size,
        spatial_dims=spatial_dims,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        proj_type="perceptron",  # MONAI's default, "conv", is not the paper's
        norm_name="instance",
        conv_block=True,
        res_block=True,
        dropout_rate=dropout_rate,
    )


def _to_map(tokens: Tensor, grid: list[int]) -> Tensor:
    """Tokens (B, n, C) in row-major order -> (B, C, *grid)."""
    return tokens.transpose(1, 2).reshape([tokens.shape[0], tokens.shape[2]] + grid).contiguous()  # noqa: RUF005
