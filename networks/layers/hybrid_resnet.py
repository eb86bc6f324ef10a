"""The ResNet under the hybrid vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929).

Every convolution has standardised weights (Qiao et al. 2019, arXiv 1903.10520) and no bias, and is
followed by group norm (Wu and He 2018, arXiv 1803.08494).
"""

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn
from torch.nn import functional

WEIGHT_EPS = 1e-5  # added to the variance of a filter's weights
GROUP_EPS = 1e-6
PROJECTION_EPS = 1e-5  # of the norm on a projected shortcut
EXPANSION = 4  # a unit's output channels for one inside


class HybridResNet(nn.Module):
    """Stem at /2, pooling, and three stages of bottleneck units at /4, /8 and /16.

    At the defaults in 2D this is the ResNet-50 of "R50-ViT-B_16": the three units of its fourth
    stage stand, without their stride, at the end of the third, so that the features end at /16.

    The pooling has no padding, so from an even map it gives one voxel per axis less than half. The
    stages go on with that; only the /4 map that is handed out gets a border of zeros at its end, up
    to half the stem's size.

    Args:
        width: channels of the stem; the stages give 4, 8 and 16 times as many.
        units: bottleneck units of each stage.
        groups: of all group norms but those on projected shortcuts, which have one group a channel.

    Attributes:
        widths: channels at /2, /4, /8 and /16, at the defaults (64, 256, 512, 1024).

    Raises:
        ValueError: ``width`` is not a multiple of ``groups``, or ``units`` are not three positive
            numbers.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 3,
        *,
        width: int = 64,
        units: Sequence[int] = (3, 4, 9),
        groups: int = 32,
    ) -> None:
        super().__init__()
        if groups < 1 or width < 1 or width % groups:
            raise ValueError(
                f"the ResNet's width is {width} and its group norms have {groups} groups: the "
                "width must be a multiple "
                "of the groups (the paper's are 64 and 32; a narrow network takes fewer groups, "
                "for example "
                f"{max(width, 1)} and {max(width // 2, 1)})."
            )
        if len(units) != 3 or any(count < 1 for count in units):
            raise ValueError(
                f"units is {list(units)}: give three positive numbers, as the paper's 3, 4 and 9."
            )
        self.widths = (width, 4 * width, 8 * width, 16 * width)
        self.stem = StandardisedUnit(
            spatial_dims, in_channels, width, groups=groups, kernel_size=7, stride=2
        )
        self.pool = Pool[Pool.MAX, spatial_dims](3, stride=2)
        self.stages = nn.ModuleList()
        for stage, count in enumerate(units):
            inside, outside = self.widths[stage], self.widths[stage + 1]
            blocks = [
                Bottleneck(
                    spatial_dims, inside, outside, groups=groups, stride=1 if stage == 0 else 2
                )
            ]
            blocks += [
                Bottleneck(spatial_dims, outside, outside, groups=groups) for _ in range(count - 1)
            ]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, in_channels, X, Y[, Z]) -> features at /16; skips at /8, /4 and /2."""
        half = self.stem(x)
        quarter = self.stages[0](self.pool(half))
        eighth = self.stages[1](quarter)
        padding: list[int] = []
        for axis in range(half.dim() - 1, 1, -1):  # functional.pad wants the last axis first
            padding += [0, half.shape[axis] // 2 - quarter.shape[axis]]
        return self.stages[2](eighth), [eighth, functional.pad(quarter, padding), half]


class Bottleneck(nn.Module):
    """Residual unit: convolutions 1, 3 (with the stride) and 1, each with a norm.

    ReLU follows the first two, and the sum.

    Inside it has a quarter of ``out_channels``. Where the shape changes, the shortcut is a 1x1x1
    convolution with the stride, and a norm of each channel by itself.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        stride: int = 1,
    ) -> None:
        super().__init__()
        inside = out_channels // EXPANSION
        self.first = StandardisedUnit(spatial_dims, in_channels, inside, groups=groups)
        self.second = StandardisedUnit(
            spatial_dims, inside, inside, groups=groups, kernel_size=3, stride=stride
        )
        self.third = StandardisedUnit(
            spatial_dims, inside, out_channels, groups=groups, activation=False
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = StandardisedUnit(
                spatial_dims,
                in_channels,
                out_channels,
                groups=out_channels,
                stride=stride,
                eps=PROJECTION_EPS,
                activation=False,
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, out_channels, ... / stride, rounded up)."""
        return functional.relu(self.third(self.second(self.first(x))) + self.shortcut(x))


class StandardisedUnit(nn.Sequential):
    """Convolution with standardised weights, "same" padding, no bias; group norm; ReLU."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        kernel_size: int = 1,
        stride: int = 1,
        eps: float = GROUP_EPS,
        activation: bool = True,
    ) -> None:
        super().__init__()
        convolution = StandardisedConv2d if spatial_dims == 2 else StandardisedConv3d
        padding = kernel_size // 2
        conv = convolution(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False
        )
        self.add_module("conv", conv)
        self.add_module("norm", nn.GroupNorm(groups, out_channels, eps=eps))
        if activation:
            self.add_module("relu", nn.ReLU(inplace=True))


class StandardisedConv2d(nn.Conv2d):
    """``nn.Conv2d`` that convolves with ``standardise(weight)``; the parameter stays as it is."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, X, Y) -> (B, out_channels, ...)."""
        return self._conv_forward(input, standardise(self.weight), self.bias)


class StandardisedConv3d(nn.Conv3d):
    """``nn.Conv3d`` that convolves with ``standardise(weight)``; the parameter stays as it is."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, X, Y, Z) -> (B, out_channels, ...)."""
        return self._conv_forward(input, standardise(self.weight), self.bias)


def standardise(weight: Tensor, eps: float = WEIGHT_EPS) -> Tensor:
    """Each filter of (out, in, ...) less its mean, over its population standard deviation.

    eps is 1e-5.

    Half precision is computed in float32: the variance of a wide layer's weights is not far above
    its least number.
    """
    exact = weight if weight.dtype in (torch.float32, torch.float64) else weight.float()
    axes = list(range(1, weight.dim()))
    centred = exact - exact.mean(dim=axes, keepdim=True)
    variance = centred.square().mean(dim=axes, keepdim=True)
    return (centred / (variance + eps).sqrt()).to(weight.dtype)
