"""MONAI's own convolutional networks, with defaults where MONAI asks for arguments.

Any option of MONAI's class is taken and handed on, and state-dict keys are MONAI's. Sizes must be
multiples of ``divisor``: unlike the networks that are written here these pad nothing (UNETR
excepted).
"""

from collections.abc import Sequence
from typing import Any

from monai.networks import nets
from torch import nn

from ..facts import NetworkFacts, Tiny, described
from .contract import contracted, hands_on_to, product
from .list_of_heads import DynUNetOfHeads, MedNeXtOfHeads

_MEDNEXT: dict[str, dict[str, Any]] = {
    "S": {},
    "B": {"encoder_expansion_ratio": (2, 3, 4, 4), "bottleneck_expansion_ratio": 4},
    "M": {
        "encoder_expansion_ratio": (2, 3, 4, 4),
        "bottleneck_expansion_ratio": 4,
        "blocks_down": (3, 4, 4, 4),
        "blocks_bottleneck": 4,
    },
    "L": {
        "encoder_expansion_ratio": (3, 4, 8, 8),
        "bottleneck_expansion_ratio": 8,
        "blocks_down": (3, 4, 8, 8),
        "blocks_bottleneck": 8,
    },
}
"""How the paper's variants differ from the smallest; their decoders mirror their encoders."""


@described(
    NetworkFacts(
        title="MONAI's UNet",
        reference="Kerfoot et al. Left-Ventricle Quantification Using Residual U-Net. STACOM 2018",
        small={"channels": [8, 16, 32, 64, 128], "norm": "instance"},
        tiny=Tiny({"channels": (4, 6, 8)}),
    )
)
@hands_on_to(nets.UNet)
def monai_unet(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    channels: Sequence[int] = (16, 32, 64, 128, 256),
    strides: Sequence[int] | None = None,
    num_res_units: int = 2,
    **options: Any,
) -> nn.Module:
    """MONAI's residual U-Net (Kerfoot et al. 2018).

    Args:
        channels: of the levels, the finest first; by default those of MONAI's spleen tutorial.
        strides: from each level to the next; None is 2 each.
        options: MONAI's.
    """
    steps = (2,) * (len(channels) - 1) if strides is None else tuple(strides)
    net = nets.UNet(
        spatial_dims,
        in_channels,
        out_channels,
        channels,
        steps,
        num_res_units=num_res_units,
        **options,
    )
    return contracted(net, product(steps, spatial_dims))


@described(
    NetworkFacts(
        title="MONAI's DynUNet",
        reference="Isensee et al. nnU-Net: a self-configuring method for deep learning-based "
        "biomedical image segmentation. Nature Methods 2021",
        small={"kernel_size": [3, 3, 3, 3, 3], "filters": [8, 16, 32, 64, 128]},
        tiny=Tiny(
            {
                "kernel_size": (3, 3, 3, 3),
                "filters": (4, 6, 8, 8),
                "deep_supervision": True,
                "deep_supr_num": 2,
            }
        ),
    )
)
@hands_on_to(nets.DynUNet)
def dyn_unet(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    kernel_size: Sequence[Sequence[int] | int] = (3, 3, 3, 3, 3, 3),
    strides: Sequence[Sequence[int] | int] | None = None,
    upsample_kernel_size: Sequence[Sequence[int] | int] | None = None,
    **options: Any,
) -> nn.Module:
    """MONAI's DynUNet, nnU-Net's network (Isensee et al. 2021); by default of six levels.

    With ``deep_supervision`` a list in training, the finest first, each at its own resolution, with
    ``head_weights`` that halve from one to the next.

    Args:
        kernel_size: of the levels, the finest first.
        strides: into each level; None is 1, then 2 each.
        upsample_kernel_size: None is ``strides[1:]``.
        options: MONAI's.
    """
    steps = (1,) + (2,) * (len(kernel_size) - 1) if strides is None else tuple(strides)
    raising = steps[1:] if upsample_kernel_size is None else upsample_kernel_size
    supervised = bool(options.get("deep_supervision"))
    kind = DynUNetOfHeads if supervised else nets.DynUNet
    net = kind(spatial_dims, in_channels, out_channels, kernel_size, steps, raising, **options)
    return contracted(
        net, product(steps, spatial_dims), heads=1 + net.deep_supr_num if supervised else 1
    )


@described(
    NetworkFacts(
        title="MONAI's SegResNet",
        reference="Myronenko. 3D MRI brain tumor segmentation using autoencoder regularization. "
        "BrainLes 2018. arXiv:1810.11654",
        small={"init_filters": 8},
        tiny=Tiny({"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)}),
    )
)
@hands_on_to(nets.SegResNet)
def seg_res_net(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    init_filters: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    **options: Any,
) -> nn.Module:
    """MONAI's SegResNet (Myronenko 2018, arXiv 1810.11654) without the autoencoder's branch.

    Args:
        init_filters: channels of the finest level; MONAI's tutorials use 16.
        blocks_down: residual blocks of the encoder's levels.
        options: MONAI's.
    """
    net = nets.SegResNet(
        spatial_dims,
        init_filters,
        in_channels,
        out_channels,
        blocks_down=tuple(blocks_down),
        **options,
    )
    return contracted(net, product((2,) * (len(blocks_down) - 1), spatial_dims))


@described(
    NetworkFacts(
        title="MONAI's VNet",
        reference="Milletari et al. V-Net: Fully Convolutional Neural Networks for Volumetric "
        "Medical Image Segmentation. 3DV 2016. arXiv:1606.04797",
        tiny=Tiny(
            {"dropout_prob_down": None, "dropout_prob_up": (None, 0.0)},
            window=(16, 16, 16),
            other=(16, 32, 16),
        ),
    )
)
@hands_on_to(
    nets.VNet, without=["dropout_prob"]
)  # the last is deprecated, and means nothing any more
def v_net(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    dropout_dim: int | None = None,
    **options: Any,
) -> nn.Module:
    """MONAI's V-Net (Milletari et al. 2016, arXiv 1606.04797).

    Args:
        in_channels: 1, 2, 4, 8 or 16.
        dropout_dim: None is ``spatial_dims``: whole channels.
        options: MONAI's.
    """
    net = nets.VNet(
        spatial_dims, in_channels, out_channels, dropout_dim=dropout_dim or spatial_dims, **options
    )
    return contracted(net, (16,) * spatial_dims)


@described(
    NetworkFacts(
        title="MONAI's MedNeXt",
        reference="Roy et al. MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image "
        "Segmentation. MICCAI 2023. arXiv:2303.09975",
        small={"init_filters": 16},
        tiny=Tiny(
            {
                "init_filters": 4,
                "blocks_down": (1, 1),
                "blocks_up": (1, 1),
                "blocks_bottleneck": 1,
                "deep_supervision": True,
            }
        ),
    )
)
@hands_on_to(nets.MedNeXt)
def med_next(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    variant: str = "S",
    kernel_size: int = 3,
    use_residual_connection: bool = True,
    **options: Any,
) -> nn.Module:
    """MONAI's MedNeXt (Roy et al. 2023, arXiv 2303.09975), by default the paper's S with kernel 3.

    With ``deep_supervision`` a list in training, the finest first, each at its own resolution, with
    ``head_weights`` that halve from one to the next.

    Args:
        variant: the paper's "S", "B", "M" or "L", whose ratios and numbers of blocks hold where no
            option says others.
        kernel_size: paper: 3 or 5.
        options: MONAI's.

    Raises:
        ValueError: an unknown ``variant``.
    """
    if variant not in _MEDNEXT:
        raise ValueError(f"variant is {variant!r}: choose one of {', '.join(_MEDNEXT)}.")
    preset = dict(_MEDNEXT[variant])
    for down, up in (
        ("encoder_expansion_ratio", "decoder_expansion_ratio"),
        ("blocks_down", "blocks_up"),
    ):
        if down in preset:
            preset[up] = preset[down][::-1]
    options = preset | options
    net = MedNeXtOfHeads(
        spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        use_residual_connection=use_residual_connection,
        **options,
    )
    levels = len(net.down_blocks)
    return contracted(
        net, (2**levels,) * spatial_dims, heads=1 + levels if options.get("deep_supervision") else 1
    )
