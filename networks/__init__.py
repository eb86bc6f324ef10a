"""The networks: torch modules from volumes (B, C, X, Y[, Z]) to logits of the same size, one network a file.

``build(name, ...)`` makes one by name; ``registry.NETWORKS`` lists them. Needs torch and MONAI only.
"""

from .attention_unet import AttentionUNet
from .grid_attention import GridAttentionGate
from .registry import build
from .unet import UNet
from .unetr import unetr

__all__ = ["AttentionUNet", "GridAttentionGate", "UNet", "build", "unetr"]
