"""The plain U-Nets that two papers compare with, under one name.

``UNet`` is the CT form of Attention U-Net without gates (Oktay et al. 2018, arXiv 1804.03999);
that of UNet++ is in ``unet_plus_plus_family``.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import (
    ConvBlock,
    FusedHeads,
    UpBlock,
    check_input,
    check_statistics,
    crop_at_end,
    initialise,
    level_widths,
    pad_at_end,
    spatial_size,
)
from .unet_plus_plus_family import zhou_unet


class UNet(nn.Module):
    """U-Net of five levels with four heads fused into one output.

    Any size is taken: axes are padded at their end to a multiple of ``divisor`` by repeating the
    border, and the logits cropped back.

    Args:
        feature_scale: the five levels have (64, 128, 256, 512, 1024) / feature_scale channels,
            rounded down. The paper uses 4 (5.88 M parameters), and 3 (10.40 M) to outweigh the
            attention network.
        filters: other channels than those, five numbers, the finest level first.
        norm: "batch" is the paper's; "instance" is steadier at a batch of 1 or 2.
        align_corners: of all linear interpolation. The authors' code predates the choice and ran
            with True.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: (16, 16, 16), in 2D
            (16, 16).

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
        feature_scale: float = 4,
        filters: Sequence[int] | None = None,
        norm: str = "batch",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
        w1, w2, w3, w4, w5 = widths = level_widths(feature_scale, filters)
        self.spatial_dims, self.in_channels, self.norm = spatial_dims, in_channels, norm
        self.divisor = (16,) * spatial_dims

        def block(channels: int, width: int) -> ConvBlock:
            return ConvBlock(spatial_dims, channels, width, norm=norm)

        def up(deeper: int, skip: int) -> UpBlock:
            return UpBlock(spatial_dims, deeper, skip, norm=norm, align_corners=align_corners)

        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self.down1, self.down2 = block(in_channels, w1), block(w1, w2)
        self.down3, self.down4 = block(w2, w3), block(w3, w4)
        self.bottom = block(w4, w5)
        self.up4, self.up3, self.up2, self.up1 = up(w5, w4), up(w4, w3), up(w3, w2), up(w2, w1)
        self.head = FusedHeads(spatial_dims, widths, out_channels, align_corners=align_corners)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]); no softmax inside."""
        check_input(x, self.in_channels, self.spatial_dims)
        skip1 = self.down1(pad_at_end(x, list(self.divisor), list(self.divisor)))
        skip2 = self.down2(self.pool(skip1))
        skip3 = self.down3(self.pool(skip2))
        skip4 = self.down4(self.pool(skip3))
        coarsest = self.pool(skip4)
        check_statistics(coarsest, self.norm, self.training)
        bottom = self.bottom(coarsest)
        up4 = self.up4(skip4, bottom)
        up3 = self.up3(skip3, up4)
        up2 = self.up2(skip2, up3)
        up1 = self.up1(skip1, up2)
        return crop_at_end(self.head(up1, up2, up3, up4), spatial_size(x))


FORMS: dict[str, Callable[..., nn.Module]] = {
    "oktay": UNet,
    "zhou": zhou_unet,
    "zhou_paper": partial(zhou_unet, form="paper"),
    "zhou_later": partial(zhou_unet, form="later"),
}
"""Name of a form -> what makes it."""


FACTS = NetworkFacts(
    title="U-Net",
    reference="Oktay et al. Attention U-Net: Learning Where to Look for the Pancreas. MIDL 2018. "
    "arXiv:1804.03999 (its baseline)",
    paper={"feature_scale": 4},
    small={"feature_scale": 8, "norm": "instance"},
    official="attention_unet",
    tiny=Tiny({"feature_scale": 16}),
)


@described(FACTS)
def unet(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    form: str = "oktay",
    **options: Any,
) -> nn.Module:
    """A plain U-Net, as one of two papers has it for its baseline.

    Args:
        form: "oktay", that of Attention U-Net (5,888,004 parameters in 3D, 1 -> 4 channels; see
            UNet), or "zhou", that of UNet++ (7,759,521 in 2D, 1 -> 1 channel; see zhou_unet): in 2D
            the paper's form, in 3D the later one of its authors; "zhou_paper" and "zhou_later"
            choose.
        options: those of the form, with its defaults: norm is "batch" in "oktay".

    Raises:
        ValueError: an unknown form, an option of the other form, or a value out of range.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}: choose one of {', '.join(FORMS)}.")
    known = _options(form)
    for option in options:
        if option not in known:
            raise ValueError(
                f"{option} is no option of the U-Net of form {form!r}, which has: "
                f"{', '.join(known)}."
            )
    return FORMS[form](spatial_dims, in_channels, out_channels, **options)


def _options(form: str) -> dict[str, inspect.Parameter]:
    found = inspect.signature(FORMS[form]).parameters
    return {
        name: value
        for name, value in found.items()
        if value.kind == value.KEYWORD_ONLY and name != "form"
    }


def _sign() -> None:
    """Show the options of both forms in the signature, where ``build`` looks."""
    first = [
        value
        for value in inspect.signature(unet).parameters.values()
        if value.kind != value.VAR_KEYWORD
    ]
    both = _options("oktay") | _options("zhou")
    unet.__signature__ = inspect.Signature([*first, *both.values()])  # type: ignore[attr-defined]


_sign()
