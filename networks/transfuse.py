"""TransFuse S and L: a CNN and a transformer side by side (Zhang et al. 2021, arXiv 2102.08005).

The paper's network is 2D. The 3D one is its natural extension: every kernel, stride and patch goes
along the third axis as along the other two.
"""

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.layers.factories import Dropout
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

from .facts import NetworkFacts, Tiny, described
from .layers.bifusion import BiFusion
from .layers.blocks import (
    ConvUnit,
    check_input,
    check_statistics,
    convolution,
    crop_at_end,
    pad_at_end,
    resize,
    spatial_size,
)
from .layers.gated_up import Up
from .layers.vision_transformer import VisionTransformer

SIZES: dict[str, dict[str, Any]] = {
    "S": {"bottleneck": False, "widths": (64, 128, 256), "embed_dim": 384, "depth": 8, "heads": 6},
    "L": {
        "bottleneck": True,
        "widths": (256, 512, 1024),
        "embed_dim": 768,
        "depth": 12,
        "heads": 12,
    },
}
"""TransFuse-S is ResNet-34 and DeiT-small cut to 8 blocks, -L ResNet-50 and DeiT-base."""

PATCH = 16  # voxels per axis of one token, and of one voxel of the deepest CNN map


FACTS = NetworkFacts(
    title="TransFuse",
    reference="Zhang et al. TransFuse: Fusing Transformers and CNNs for Medical Image "
    "Segmentation. MICCAI 2021. arXiv:2102.08005",
    paper={"size": "S"},
    paper_training={"loss": "structure"},
    paper_2d_training={"loss": "structure_2d"},
    small={
        "size": "S",
        "widths": [16, 32, 64],
        "blocks": [2, 2, 2],
        "embed_dim": 96,
        "depth": 4,
        "heads": 3,
    },
    training={"learning_rate": 0.001},
    official="transfuse",
    tiny=Tiny(
        {
            "img_size": (32, 16, 16),
            "widths": (4, 6, 8),
            "blocks": (1, 1, 1),
            "embed_dim": 12,
            "depth": 2,
            "heads": 2,
        }
    ),
)


@described(FACTS)
class TransFuse(nn.Module):
    """ResNet and ViT in parallel, joined by BiFusion at three scales, with three supervised maps.

    Forward in training: [map_2, map_1, map_x], logits (B, out_channels, ...) of the joint path, the
    transformer alone and the first fusion, all at the input's size. In eval: map_2. Any size is
    taken: axes are padded at their end to multiples of 16 by repeating the border, and the logits
    cropped back.

    Args:
        size: "S" (26.2 M parameters in 2D) or "L" (143.5 M); the five options after img_size
            replace its numbers.
        img_size: voxels of the training window, one number or one per axis, multiples of 16; it
            gives the grid of the position embedding, which is interpolated for other windows. None:
            (192, 256), in 3D 96.
        widths: channels of the CNN's maps at 1/4, 1/8 and 1/16, and of the decoder; the stem has
            the first of them, a quarter of it when "L".
        blocks: residual blocks of the three CNN stages.
        embed_dim, depth, heads: of the transformer, whose MLPs have 4 * embed_dim channels.
        dropout: channel dropout of the three maps of each branch, half of it at the end of each
            BiFusion.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: (16, 16, 16), in 2D
            (16, 16).
        head_weights: (0.5, 0.3, 0.2), the weights of map_2, map_1 and map_x in the loss.

    Raises:
        ValueError: an argument out of range; in forward, an input of the wrong rank or channel
            count, or in training so small that batch norm has a single value per channel.
    """

    head_weights = (0.5, 0.3, 0.2)

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        size: str = "S",
        img_size: int | Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] = (3, 4, 6),
        embed_dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
        if size not in SIZES:
            raise ValueError(f"size is {size!r}: choose one of {', '.join(SIZES)}.")
        preset = SIZES[size]
        w1, w2, w3 = widths = _three(
            "widths", widths or preset["widths"], 4 if preset["bottleneck"] else 2
        )
        tokens = embed_dim or preset["embed_dim"]
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.divisor = (PATCH,) * spatial_dims

        self.trunk = ResNetTrunk(
            spatial_dims, in_channels, widths, blocks, bottleneck=preset["bottleneck"]
        )
        self.transformer = VisionTransformer(
            spatial_dims,
            in_channels,
            _window(spatial_dims, img_size),
            patch=PATCH,
            width=tokens,
            depth=depth or preset["depth"],
            heads=heads or preset["heads"],
        )
        # The authors' network carries DeiT's class token along without using it. Frozen, it keeps
        # their parameter count and their checkpoints whole, and asks for no gradient.
        self.class_token = nn.Parameter(torch.zeros(1, 1, tokens), requires_grad=False)
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
        self.up1, self.up2 = Up(spatial_dims, tokens, 0, w2), Up(spatial_dims, w2, 0, w1)
        self.fuse0 = BiFusion(spatial_dims, w3, tokens, w3, w3, reduction=4, dropout=dropout / 2)
        self.fuse1 = BiFusion(spatial_dims, w2, w2, w2, w2, reduction=2, dropout=dropout / 2)
        self.fuse2 = BiFusion(spatial_dims, w1, w1, w1, w1, reduction=1, dropout=dropout / 2)
        self.joint1, self.joint2 = Up(spatial_dims, w3, w2, w2), Up(spatial_dims, w2, w1, w1)
        self.head_x = nn.Sequential(
            ConvUnit(spatial_dims, w3, w1), *_head(spatial_dims, w1, out_channels)
        )
        self.head_1 = nn.Sequential(*_head(spatial_dims, w1, out_channels))
        self.head_2 = nn.Sequential(*_head(spatial_dims, w1, out_channels))
        for name, part in self.named_children():
            if name not in ("trunk", "transformer"):
                part.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]); three in training."""
        check_input(x, self.in_channels, self.spatial_dims)
        size = spatial_size(x)
        x = pad_at_end(x, list(self.divisor), list(self.divisor))
        grid = spatial_size(x)

        t0 = self.dropout(self.transformer(x))
        check_statistics(t0, "batch", self.training)
        t1 = self.dropout(self.up1(t0))
        t2 = self.dropout(self.up2(t1))

        g2 = self.dropout(self.trunk.layer1(self.trunk.stem(x)))
        g1 = self.dropout(self.trunk.layer2(g2))
        g0 = self.dropout(self.trunk.layer3(g1))

        f0 = self.fuse0(g0, t0)
        f1 = self.joint1(f0, self.fuse1(g1, t1))
        f2 = self.joint2(f1, self.fuse2(g2, t2))

        map_2 = crop_at_end(resize(self.head_2(f2), grid, True), size)
        if not self.training:
            return map_2
        map_1 = crop_at_end(resize(self.head_1(t2), grid, True), size)
        map_x = crop_at_end(resize(self.head_x(f0), grid, True), size)
        return [map_2, map_1, map_x]


class ResNetTrunk(ResNet):
    """MONAI's ResNet in torchvision's arithmetic and names, up to the third of its four stages.

    Stride 2 on every axis in the stem, its pooling and the last two stages; shortcuts of 1x1
    convolution without bias and norm; stride on the 3x3 convolution of a bottleneck.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        bottleneck: bool,
    ) -> None:
        planes = [width // 4 if bottleneck else width for width in widths]
        super().__init__(
            "bottleneck" if bottleneck else "basic",
            [*_three("blocks", blocks, 1), 1],
            [*planes, 1],  # MONAI builds a fourth stage in any case: a small one
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        del self.layer4, self.avgpool, self.fc

    def stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, stem channels, ... / 4)."""
        return self.maxpool(self.act(self.bn1(self.conv1(x))))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> the deepest map, (B, widths[2], ... / 16)."""
        return self.layer3(self.layer2(self.layer1(self.stem(x))))


def _head(spatial_dims: int, width: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    unit = ConvUnit(spatial_dims, width, width, kernel_size=(3, 3, 3))
    return unit, convolution(spatial_dims, width, out_channels, kernel_size=3, padding=1)


def _three(name: str, numbers: Sequence[int], multiple: int) -> tuple[int, ...]:
    """The three numbers of the CNN's stages, checked."""
    numbers = tuple(numbers)
    if len(numbers) != 3 or any(number < multiple or number % multiple for number in numbers):
        kind = f"multiples of {multiple}" if multiple > 1 else "numbers of 1 or more"
        raise ValueError(f"{name} are {numbers}: give three {kind}, the finest stage first.")
    return numbers


def _window(spatial_dims: int, img_size: int | Sequence[int] | None) -> tuple[int, ...]:
    if img_size is None:
        return (192, 256) if spatial_dims == 2 else (96, 96, 96)
    return (img_size,) * spatial_dims if isinstance(img_size, int) else tuple(img_size)


def _initialise(module: nn.Module) -> None:
    """Kaiming normal (fan in) for the decoder's convolutions; the rest as in PyTorch."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
