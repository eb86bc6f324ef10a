"""UNETR (Hatamizadeh et al. 2021, arXiv 2103.10504): MONAI's network with the paper's settings."""

from collections.abc import Sequence

from monai.networks.nets import UNETR

PATCH = 16  # voxels an axis of one token; MONAI's UNETR knows no other


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
) -> UNETR:
    """MONAI's UNETR as in the paper: linear patch projection, residual blocks, instance norm, 12 layers.

    At the defaults it has 92,802,478 parameters, of which 92,784,046 are used.

    (B, in_channels, *img_size) -> logits (B, out_channels, *img_size). The position embedding ties the
    network to ``img_size``: larger volumes go through a sliding window of that size.

    MONAI registers a norm for cross-attention in each block (``norm_cross_attn``, 24 tensors) that UNETR
    never uses. They are frozen here, so that every parameter that asks for a gradient gets one and
    DistributedDataParallel needs no ``find_unused_parameters``. State-dict keys are MONAI's.

    Args:
        img_size: voxels of the window, one number or one an axis, multiples of 16; paper: 96.
        feature_size: channels of the finest level. hidden_size, mlp_dim, num_heads: of the transformer.

    Raises:
        ValueError: ``img_size`` is not made of multiples of 16, or ``hidden_size`` of ``num_heads``.
    """
    size = (img_size,) * spatial_dims if isinstance(img_size, int) else tuple(img_size)
    if len(size) != spatial_dims or any(voxels < PATCH or voxels % PATCH for voxels in size):
        raise ValueError(
            f"img_size is {img_size}: unetr takes {spatial_dims} multiples of {PATCH} voxels, for example 96."
        )
    if hidden_size % num_heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of num_heads {num_heads}.")
    net = UNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        img_size=size,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        proj_type="perceptron",  # MONAI's default, "conv", is not the paper's
        norm_name="instance",
        conv_block=True,
        res_block=True,
        dropout_rate=dropout_rate,
        spatial_dims=spatial_dims,
    )
    for name, parameter in net.named_parameters():
        if ".norm_cross_attn." in name:
            parameter.requires_grad_(False)
    return net
