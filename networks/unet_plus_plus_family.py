"""Networks that the UNet++ papers compare with: UNet+, U-Net^e, U-Net, wide U-Net."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from .facts import Tiny, described
from .unet_plus_plus import FACTS, UNetPlusPlus

WIDE = (35, 70, 140, 280, 560)
"""Filters of the wide U-Net, chosen by the authors to have about the parameters of UNet++."""

Function = TypeVar("Function", bound=Callable[..., UNetPlusPlus])


def _options_but(*fixed: str) -> Callable[[Function], Function]:
    """Show UNetPlusPlus's signature without ``fixed``, for the registry and help()."""

    def shown(function: Function) -> Function:
        signature = inspect.signature(UNetPlusPlus)
        parameters = [value for name, value in signature.parameters.items() if name not in fixed]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=UNetPlusPlus
        )
        return function

    return shown


@described(replace(FACTS, title="UNet+"))
@_options_but("wiring")
def unet_plus(
    spatial_dims: int = 3, in_channels: int = 1, out_channels: int = 2, **options: Any
) -> UNetPlusPlus:
    """UNet+: as UNet++, but at its level a node sees only its neighbour X^{i,j-1}.

    8,728,356 parameters in 2D, 1 -> 1 channel, with its four heads. Options are those of
    UNetPlusPlus.
    """
    return UNetPlusPlus(spatial_dims, in_channels, out_channels, wiring="previous", **options)


@described(replace(FACTS, title="U-Net^e"))
@_options_but("wiring")
def unet_e(
    spatial_dims: int = 3, in_channels: int = 1, out_channels: int = 2, **options: Any
) -> UNetPlusPlus:
    """U-Net^e: U-Nets of every depth that share one encoder: a node sees only X^{i,0} at its level.

    8,728,356 parameters in 2D, 1 -> 1 channel, with its four heads. Options are those of
    UNetPlusPlus.
    """
    return UNetPlusPlus(spatial_dims, in_channels, out_channels, wiring="encoder", **options)


@_options_but("wiring", "deep_supervision", "inference")
def zhou_unet(
    spatial_dims: int = 3, in_channels: int = 1, out_channels: int = 2, **options: Any
) -> UNetPlusPlus:
    """The plain U-Net of the UNet++ papers: one decoder, one head, filters and blocks of UNet++.

    7,759,521 parameters in 2D, 1 -> 1 channel. Options are those of UNetPlusPlus; forward gives one
    tensor.
    """
    return UNetPlusPlus(
        spatial_dims, in_channels, out_channels, wiring="encoder", deep_supervision=False, **options
    )


_WIDE_TINY = Tiny({"depth": 1}, window=(16, 16, 16), other=(8, 16, 12))


@described(replace(FACTS, title="wide U-Net", paper={}, paper_2d=None, small={}, tiny=_WIDE_TINY))
@_options_but("wiring", "deep_supervision", "inference", "filters")
def wide_unet(
    spatial_dims: int = 3, in_channels: int = 1, out_channels: int = 2, **options: Any
) -> UNetPlusPlus:
    """The wide U-Net of the UNet++ papers: the plain one with other filters, in 3D as well.

    Filters are (35, 70, 140, 280, 560).

    9,282,246 parameters in 2D, 1 -> 1 channel. Options are those of UNetPlusPlus; forward gives one
    tensor.
    """
    return zhou_unet(spatial_dims, in_channels, out_channels, filters=WIDE, **options)
