"""The plain U-Nets that the papers compare with, under one name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from .unet import UNet
from .unet_plus_plus_family import zhou_unet

FORMS: dict[str, Callable[..., nn.Module]] = {
    "oktay": UNet,
    "zhou": zhou_unet,
    "zhou_paper": partial(zhou_unet, form="paper"),
    "zhou_later": partial(zhou_unet, form="later"),
}
"""Name of a form -> what makes it."""


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
