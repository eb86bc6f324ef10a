"""The networks: torch modules from volumes (B, C, X, Y[, Z]) to logits of the same size.

One network is one file; ``build(name, ...)`` makes any of ``NETWORKS``, and ``network_facts(name)``
tells what it is. ``official`` renames the state dicts of the authors' releases. Needs torch and
MONAI only.
"""

from .attention_unet import AttentionUNet
from .facts import NetworkFacts
from .registry import NETWORKS, build, build_for_volumes, network_facts, network_options
from .slices import SliceBySlice
from .transfuse import TransFuse
from .transunet import TransUNet
from .uctransnet import UCTransNet
from .unet import UNet
from .unet_plus_plus import UNetPlusPlus
from .unetr import AnyWindowUNETR

__all__ = [
    "NETWORKS",
    "AnyWindowUNETR",
    "AttentionUNet",
    "NetworkFacts",
    "SliceBySlice",
    "TransFuse",
    "TransUNet",
    "UCTransNet",
    "UNet",
    "UNetPlusPlus",
    "build",
    "build_for_volumes",
    "network_facts",
    "network_options",
]
