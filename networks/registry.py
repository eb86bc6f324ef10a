"""Networks by name, for configs and the command line.

A new network is a file with a class or function that carries its facts (see ``facts.described``),
and one line in ``_HOMES``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .facts import NetworkFacts
from .slices import SliceBySlice

if TYPE_CHECKING:
    from torch import nn

_HOMES = {
    "attention_unet": "attention_unet.AttentionUNet",
    "transfuse": "transfuse.TransFuse",
    "transunet": "transunet.TransUNet",
    "uctransnet": "uctransnet.UCTransNet",
    "unet": "unet.unet",
    "unet_e": "unet_plus_plus_family.unet_e",
    "unet_plus": "unet_plus_plus_family.unet_plus",
    "unet_plus_plus": "unet_plus_plus.UNetPlusPlus",
    "unetr": "unetr.unetr",
    "wide_unet": "unet_plus_plus_family.wide_unet",
    # MONAI's own, by the names of its classes
    "DynUNet": "monai.convolutional.dyn_unet",
    "MedNeXt": "monai.convolutional.med_next",
    "SegResNet": "monai.convolutional.seg_res_net",
    "SwinUNETR": "monai.transformers.swin_unetr",
    "UNETR": "monai.transformers.monai_unetr",
    "UNet": "monai.convolutional.monai_unet",
    "VNet": "monai.convolutional.v_net",
}


class _Networks(Mapping[str, "Callable[..., nn.Module]"]):
    """Name -> class or function, imported when it is asked for."""

    def __getitem__(self, name: str) -> Callable[..., nn.Module]:
        module, _, network = _HOMES[name].rpartition(".")
        return getattr(import_module(f".{module}", __package__), network)

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


NETWORKS: Mapping[str, Callable[..., nn.Module]] = _Networks()
"""Name -> what makes the network: ours, then MONAI's own under the names of its classes."""


def build(
    name: str, *, spatial_dims: int = 3, in_channels: int = 1, out_channels: int, **options: Any
) -> nn.Module:
    """The network called ``name`` (a key of NETWORKS), with initial weights.

    ``options`` are the keyword options of that network. Input is (B, in_channels, ...) and output
    logits (B, out_channels, ...), ``out_channels`` counting the background.

    Every network has ``divisor`` (a tuple, one number per axis): windows are best made of its
    multiples. Where one has ``head_weights`` of more than one number, it gives in training a list
    of logits, its main head first, each to be counted in the loss with its weight; in eval mode it
    gives one tensor.

    Raises:
        ValueError: no network, or no option of it, has that name (the text gives the nearest and
            all of them), or the network refuses a value.

    Example:
        >>> import torch
        >>> network = build("attention_unet", out_channels=4, feature_scale=16).eval()
        >>> window = torch.zeros(1, 1, 32, 32, 16)
        >>> network(window).shape
        torch.Size([1, 4, 32, 32, 16])
    """
    known = network_options(name)
    for option in options:
        if option not in known:
            raise ValueError(_unknown(f"option of the network {name!r}", option, known))
    return NETWORKS[name](
        spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options
    )


def build_for_volumes(name: str, *, spatial_dims: int = 3, **options: Any) -> nn.Module:
    """As ``build``, for windows of volumes: a 2D network takes them slice by slice.

    Input is (B, in_channels, X, Y, Z), output (B, out_channels, X, Y, Z) for 2D networks as well.

    Raises:
        ValueError: as build.
    """
    network = build(name, spatial_dims=spatial_dims, **options)
    return SliceBySlice(network) if spatial_dims == 2 else network


def network_options(name: str) -> dict[str, Any]:
    """The options of a network with their defaults.

    A default is ``inspect.Parameter.empty`` where an option has none.

    >>> network_options("unet")["feature_scale"]
    4

    Raises:
        ValueError: no network has that name.
    """
    if name not in NETWORKS:
        raise ValueError(_unknown("network", name, NETWORKS))
    parameters = inspect.signature(NETWORKS[name]).parameters.values()
    return {value.name: value.default for value in parameters if value.kind == value.KEYWORD_ONLY}


def network_facts(name: str) -> NetworkFacts:
    """What a network says of itself: title, paper, options of several sizes.

    Raises:
        ValueError: no network has that name.
    """
    if name not in NETWORKS:
        raise ValueError(_unknown("network", name, NETWORKS))
    facts: NetworkFacts = NETWORKS[name].facts  # type: ignore[attr-defined]
    return facts


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    # of two that differ in case, our own
    by_letters = {one.lower(): one for one in sorted(known, key=str.islower)}
    near = get_close_matches(name.lower(), list(by_letters), n=1, cutoff=0.4)
    hint = f" Did you mean {by_letters[near[0]]!r}?" if near else ""
    return f"there is no {kind} called {name!r}.{hint} Known: {', '.join(sorted(known))}."
