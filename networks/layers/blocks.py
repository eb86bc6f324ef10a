"""What convolutional networks share: blocks, heads, resizing, padding, initial weights.

Everything here works in 2D and 3D and compiles with ``torch.jit.script`` and ``torch.export``,
which is why the functions that run in a forward pass take plain lists of ints.
"""

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from .instance_norm import InstanceNorm2d, InstanceNorm3d

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of the five levels at feature_scale 1, the finest level first."""

NORMS: dict[str, dict[int, type[nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: InstanceNorm2d, 3: InstanceNorm3d},
}


def level_widths(feature_scale: float = 4, filters: Sequence[int] | None = None) -> tuple[int, ...]:
    """Channels of the five levels, the finest first: ``filters``, or WIDTHS / feature_scale.

    The quotients are rounded down. Raises ValueError when ``filters`` are not five positive numbers
    or the scale leaves no channels.
    """
    if filters is None and not feature_scale > 0:
        raise ValueError(
            f"feature_scale is {feature_scale}: it must be greater than 0 (the papers use 3 or 4)."
        )
    widths = (
        tuple(int(width / feature_scale) for width in WIDTHS) if filters is None else tuple(filters)
    )
    if len(widths) != len(WIDTHS) or any(width < 1 for width in widths):
        raise ValueError(
            f"the network's channels would be {list(widths)} (feature_scale {feature_scale}, "
            f"filters {filters}): give five positive filters, or a feature_scale of at most "
            f"{WIDTHS[0]}."
        )
    return widths


def convolution(
    spatial_dims: int, in_channels: int, out_channels: int, **options: object
) -> nn.Module:
    """A 2D or 3D convolution, kernel 1 and with bias unless ``options`` say otherwise.

    ``options`` are those of ``nn.Conv3d``.
    """
    return Conv[Conv.CONV, spatial_dims](in_channels, out_channels, **{"kernel_size": 1, **options})


def normalisation(spatial_dims: int, channels: int, norm: str) -> nn.Module:
    """A norm, "batch" or "instance", eps 1e-5, with scale and shift; else ValueError."""
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}: choose one of {', '.join(NORMS)}.")
    return NORMS[norm][spatial_dims](channels, affine=True)


class ConvUnit(nn.Sequential):
    """Convolution with bias that keeps the size, norm, and (unless ``activation=False``) ReLU.

    (B, in_channels, ...) -> (B, out_channels, ...).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: Sequence[int] = (1, 1, 1),
        norm: str = "batch",
        activation: bool = True,
    ) -> None:
        super().__init__()
        kernel = tuple(kernel_size)[:spatial_dims]
        padding = tuple(size // 2 for size in kernel)
        self.add_module(
            "conv",
            convolution(
                spatial_dims, in_channels, out_channels, kernel_size=kernel, padding=padding
            ),
        )
        self.add_module("norm", normalisation(spatial_dims, out_channels, norm))
        if activation:
            self.add_module("relu", nn.ReLU(inplace=True))


class ConvBlock(nn.Module):
    """Two ConvUnits: the block of every level of the encoder and decoder."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: Sequence[int] = (3, 3, 3),
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.first = ConvUnit(
            spatial_dims, in_channels, out_channels, kernel_size=kernel_size, norm=norm
        )
        self.second = ConvUnit(
            spatial_dims, out_channels, out_channels, kernel_size=kernel_size, norm=norm
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, out_channels, ...), same size."""
        return self.second(self.first(x))


class UpBlock(nn.Module):
    """One decoder level: deeper features resized to the skip, concatenated behind it, ConvBlock."""

    def __init__(
        self,
        spatial_dims: int,
        deeper_channels: int,
        skip_channels: int,
        *,
        kernel_size: Sequence[int] = (3, 3, 3),
        norm: str = "batch",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        both = skip_channels + deeper_channels
        self.block = ConvBlock(
            spatial_dims, both, skip_channels, kernel_size=kernel_size, norm=norm
        )

    def forward(self, skip: Tensor, deeper: Tensor) -> Tensor:
        """Skip (B, skip_channels, ...), deeper (B, deeper_channels, smaller ...) -> as the skip."""
        raised = resize(deeper, spatial_size(skip), self.align_corners)
        return self.block(torch.cat([skip, raised], dim=1))


class SingleHead(nn.Module):
    """1x1x1 convolution of the finest decoder level to logits; deeper levels are ignored."""

    def __init__(self, spatial_dims: int, widths: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.level1 = convolution(spatial_dims, widths[0], out_channels)

    def forward(self, up1: Tensor, up2: Tensor, up3: Tensor, up4: Tensor) -> Tensor:
        """(B, C, ...) of decoder levels 1 (finest) to 4 -> logits (B, out_channels, ... of up1)."""
        return self.level1(up1)


class FusedHeads(nn.Module):
    """Deep supervision as one fused output: logits of four decoder levels, resized and mixed.

    They are concatenated from level 1, the finest, to level 4.
    """

    def __init__(
        self,
        spatial_dims: int,
        widths: Sequence[int],
        out_channels: int,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.level1 = convolution(spatial_dims, widths[0], out_channels)
        self.level2 = convolution(spatial_dims, widths[1], out_channels)
        self.level3 = convolution(spatial_dims, widths[2], out_channels)
        self.level4 = convolution(spatial_dims, widths[3], out_channels)
        self.fuse = convolution(spatial_dims, 4 * out_channels, out_channels)

    def forward(self, up1: Tensor, up2: Tensor, up3: Tensor, up4: Tensor) -> Tensor:
        """(B, C, ...) of decoder levels 1 (finest) to 4 -> logits (B, out_channels, ... of up1)."""
        size = spatial_size(up1)
        levels = [
            self.level1(up1),
            resize(self.level2(up2), size, self.align_corners),
            resize(self.level3(up3), size, self.align_corners),
            resize(self.level4(up4), size, self.align_corners),
        ]
        return self.fuse(torch.cat(levels, dim=1))


def spatial_size(x: Tensor) -> list[int]:
    """[X, Y] or [X, Y, Z] of a batch (B, C, X, Y[, Z])."""
    return list(x.shape[2:])


def resize(x: Tensor, size: list[int], align_corners: bool) -> Tensor:
    """Bilinear (B, C, X, Y) or trilinear (B, C, X, Y, Z) interpolation to the spatial ``size``."""
    mode = "trilinear" if x.dim() == 5 else "bilinear"
    return functional.interpolate(x, size=size, mode=mode, align_corners=align_corners)


def pad_at_end(x: Tensor, divisor: list[int], minimum: list[int]) -> Tensor:
    """Grow each spatial axis at its end to a multiple of its ``divisor``, at least ``minimum``.

    The border voxel is repeated: zeros would put an edge, which the scan does not have, in view of
    the last voxels. ``x`` itself comes back when nothing is missing.
    """
    padding: list[int] = []
    for axis in range(len(divisor) - 1, -1, -1):  # functional.pad wants the last axis first
        size = x.shape[axis + 2]
        padded = -(-size // divisor[axis]) * divisor[axis]
        padding += [0, max(padded, minimum[axis]) - size]
    if max(padding) == 0:
        return x
    return functional.pad(x, padding, mode="replicate")


def crop_at_end(x: Tensor, size: list[int]) -> Tensor:
    """Undo pad_at_end: the first ``size`` voxels of each spatial axis."""
    for axis in range(len(size)):
        if x.shape[axis + 2] != size[axis]:
            x = x.narrow(axis + 2, 0, size[axis])
    return x


def check_input(x: Tensor, in_channels: int, spatial_dims: int) -> None:
    """ValueError unless ``x`` is (B, in_channels, ...) with ``spatial_dims`` spatial axes."""
    if x.dim() != spatial_dims + 2 or x.shape[1] != in_channels:
        raise ValueError(
            f"the network takes a batch (B, C, ...) of {in_channels} channel(s) and {spatial_dims} "
            "spatial "
            f"axes and was given the shape {list(x.shape)}: add the missing axis, or build it for "
            "that input."
        )


def check_statistics(x: Tensor, norm: str, training: bool) -> None:
    """ValueError when the coarsest features ``x`` hold one value per channel.

    One value has no mean and variance.
    """
    values = x[0, 0].numel()
    if norm == "batch":
        # in eval mode batch norm uses its running statistics
        values = values * x.shape[0] if training else 2
    if values < 2:
        raise ValueError(
            f"the window is too small: {norm} norm sees a single value per channel on the coarsest "
            "level "
            f"(features of shape {list(x.shape)}); use a window at least twice as large along one "
            "axis" + (", or a batch of 2 or more." if norm == "batch" else ".")
        )


def initialise(module: nn.Module) -> None:
    """The authors' initial weights: Kaiming normal (fan in, ReLU), norms N(1, 0.02) and 0.

    For ``net.apply(initialise)``. Biases of convolutions keep PyTorch's default.
    """
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
    elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d)):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
