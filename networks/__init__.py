"""The networks: torch modules from volumes (B, C, X, Y[, Z]) to logits of the same size, one network a file.

``build(name, ...)`` makes one by name; ``registry.NETWORKS`` lists them. ``official`` renames the
state dicts of the authors' releases. Needs torch and MONAI only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .attention_unet import AttentionUNet
from .layers.grid_attention import GridAttentionGate
from .registry import NETWORKS, build, build_for_volumes, network_options
from .slices import SliceBySlice
from .unet import UNet
from .unetr import unetr

if TYPE_CHECKING:
    from .transfuse import TransFuse
    from .transunet import TransUNet
    from .uctransnet import UCTransNet
    from .unet_plus_plus import UNetPlusPlus

_LATER = {
    "TransFuse": "transfuse",
    "TransUNet": "transunet",
    "UCTransNet": "uctransnet",
    "UNetPlusPlus": "unet_plus_plus",
}

__all__ = [
    "NETWORKS",
    "AttentionUNet",
    "GridAttentionGate",
    "SliceBySlice",
    "TransFuse",
    "TransUNet",
    "UCTransNet",
    "UNet",
    "UNetPlusPlus",
    "build",
    "build_for_volumes",
    "network_options",
    "unetr",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
