"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import (
    ConvBlock,
    ConvUnit,
    FusedHeads,
    SingleHead,
    UpBlock,
    check_input,
    check_statistics,
    crop_at_end,
    initialise,
    level_widths,
    pad_at_end,
    resize,
    spatial_size,
)
from .layers.grid_attention import GridAttentionGate, ParallelGates, per_axis

VARIANTS = {"ct_multi": 2, "ct_single": 1, "grid_gating": 1}
"""Name of a variant -> gates on a skip connection."""


FACTS = NetworkFacts(
    title="Attention U-Net",
    reference="Oktay et al. Attention U-Net: Learning Where to Look for the Pancreas. MIDL 2018. "
    "arXiv:1804.03999",
    paper={"variant": "ct_multi", "feature_scale": 4},
    small={"variant": "ct_single", "feature_scale": 8, "norm": "instance"},
    medium={"variant": "ct_single", "filters": [12, 24, 48, 96, 192], "norm": "instance"},
    official="attention_unet",
    tiny=Tiny({"feature_scale": 16}),
)


@described(FACTS)
class AttentionUNet(nn.Module):
    """U-Net whose three coarser skip connections pass grid attention gates.

    The finest skip is not gated.

    Variants, as the authors published them:

    * ``"ct_multi"``, ``"ct_single"``: 3x3x3 convolutions, pooling (2, 2, 2), two or one gate per
      skip followed by a combining convolution. The deepest gate listens to a gating signal made
      from the bottom level, the others to the decoder level below them. Four heads fused into one
      output.
      ``"ct_multi"`` has the paper's size.
    * ``"grid_gating"``: 3x3x1 convolutions, pooling (2, 2, 1), one gate per skip used directly; all
      three listen to the same signal from the bottom level. One head.

    In 2D the last axis of all kernels and strides falls away.

    Any size is taken: axes are padded at their end to a multiple of ``divisor`` by repeating the
    border, and the logits cropped back. Sizes that are multiples already (training windows should
    be) are not touched.

    Args:
        variant: see above.
        feature_scale: the five levels have (64, 128, 256, 512, 1024) / feature_scale channels,
            rounded down; paper: 4.
        filters: other channels than those, five numbers, the finest level first.
        subsample: voxels of a skip to one of its attention grid, one number or one per axis; paper:
            2.
        gating: how attention features become coefficients: "sigmoid" (the paper's), "softplus" or
            "softmax"; see grid_attention.GATINGS.
        norm: "batch" is the paper's; "instance" is steadier at a batch of 1 or 2.
        align_corners: of all linear interpolation. The authors' code predates the choice and ran
            with True.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: (16, 16, 16), or (16,
            16, 1).

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
        variant: str = "ct_multi",
        feature_scale: float = 4,
        filters: Sequence[int] | None = None,
        subsample: int | Sequence[int] = 2,
        gating: str = "sigmoid",
        norm: str = "batch",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}: choose one of {', '.join(VARIANTS)}.")
        ct = variant != "grid_gating"
        kernel = (3, 3, 3) if ct else (3, 3, 1)
        pooling = (2, 2, 2)[:spatial_dims] if ct else (2, 2, 1)[:spatial_dims]
        step = per_axis(subsample, spatial_dims)
        w1, w2, w3, w4, w5 = widths = level_widths(feature_scale, filters)

        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.norm, self.align_corners, self.follows_decoder = norm, align_corners, ct
        self.divisor = tuple(size**4 for size in pooling)
        self.minimum = tuple(_least_size(size, s) for size, s in zip(pooling, step, strict=True))

        block = partial(ConvBlock, spatial_dims, kernel_size=kernel, norm=norm)
        common: dict[str, Any] = {"norm": norm, "align_corners": align_corners}
        gates = common | {"subsample": step, "gating": gating}

        def up(deeper: int, skip: int) -> UpBlock:
            return UpBlock(spatial_dims, deeper, skip, kernel_size=kernel, **common)

        def gate(skip: int, signal: int) -> nn.Module:
            if not ct:
                return GridAttentionGate(spatial_dims, skip, signal, **gates)
            return ParallelGates(spatial_dims, skip, signal, count=VARIANTS[variant], **gates)

        self.pool = Pool[Pool.MAX, spatial_dims](pooling)
        self.down1, self.down2 = block(in_channels, w1), block(w1, w2)
        self.down3, self.down4 = block(w2, w3), block(w3, w4)
        self.bottom = block(w4, w5)

        signal = w5 if ct else w4
        self.gating_signal = ConvUnit(spatial_dims, w5, signal, norm=norm)
        self.gate4 = gate(w4, signal)
        self.gate3 = gate(w3, w4 if ct else signal)
        self.gate2 = gate(w2, w3 if ct else signal)

        self.up4, self.up3, self.up2, self.up1 = up(w5, w4), up(w4, w3), up(w3, w2), up(w2, w1)
        self.head: nn.Module
        if ct:
            self.head = FusedHeads(spatial_dims, widths, out_channels, align_corners=align_corners)
        else:
            self.head = SingleHead(spatial_dims, widths, out_channels)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]); no softmax inside."""
        return self._gated(x)[0]

    @torch.jit.export
    def attend(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits, and the attention coefficients of each gate, for display.

        Coefficients: "gate2" (fine), "gate3", "gate4" (coarse) -> (B, gates on a skip, X, Y[, Z]),
        in 0..1, interpolated linearly from the skip's grid to the input's.
        """
        logits, coefficients = self._gated(x)
        grid = spatial_size(pad_at_end(x, list(self.divisor), list(self.minimum)))
        size = spatial_size(x)
        resized: dict[str, Tensor] = {}
        for level, a in zip([4, 3, 2], coefficients):  # noqa: B905 (TorchScript has no strict=)
            resized[f"gate{level}"] = crop_at_end(resize(a, grid, self.align_corners), size)
        return logits, resized

    def _gated(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        check_input(x, self.in_channels, self.spatial_dims)
        skip1 = self.down1(pad_at_end(x, list(self.divisor), list(self.minimum)))
        skip2 = self.down2(self.pool(skip1))
        skip3 = self.down3(self.pool(skip2))
        skip4 = self.down4(self.pool(skip3))
        coarsest = self.pool(skip4)
        check_statistics(coarsest, self.norm, self.training)
        bottom = self.bottom(coarsest)
        signal = self.gating_signal(bottom)

        gated4, a4 = self.gate4(skip4, signal)
        up4 = self.up4(gated4, bottom)
        gated3, a3 = self.gate3(skip3, up4 if self.follows_decoder else signal)
        up3 = self.up3(gated3, up4)
        gated2, a2 = self.gate2(skip2, up3 if self.follows_decoder else signal)
        up2 = self.up2(gated2, up3)
        up1 = self.up1(skip1, up2)
        logits = self.head(up1, up2, up3, up4)
        return crop_at_end(logits, spatial_size(x)), [a4, a3, a2]


def _least_size(pooling: int, subsample: int) -> int:
    """The smallest multiple of the divisor at which theta's kernel fits the deepest skip.

    That skip lies 3 poolings down.
    """
    divisor = pooling**4
    return -(-(subsample * pooling**3) // divisor) * divisor
