"""Networks by name, for configs and the command line."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from torch import nn

from .attention_unet import AttentionUNet
from .unet import UNet
from .unetr import unetr

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "attention_unet": AttentionUNet,
    "unet": UNet,
    "unetr": unetr,
}


def build(name: str, *, spatial_dims: int = 3, in_channels: int = 1, out_channels: int, **options: Any) -> nn.Module:
    """The network called ``name`` (a key of NETWORKS), with initial weights.

    ``options`` are the keyword options of that network. Input is (B, in_channels, ...) and output logits (B,
    out_channels, ...), ``out_channels`` counting the background.

    Raises:
        ValueError: no network, or no option of it, has that name (the text gives the nearest and all of
            them), or the network refuses a value.
    """
    if name not in NETWORKS:
        raise ValueError(_unknown("network", name, NETWORKS))
    network = NETWORKS[name]
    known = [key for key, value in inspect.signature(network).parameters.items() if value.kind == value.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise ValueError(_unknown(f"option of the network {name!r}", option, known))
    return network(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"there is no {kind} called {name!r}.{hint} Known: {', '.join(sorted(known))}."
