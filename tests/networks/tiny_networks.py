"""Every network of the registry, tiny: what the contract's tests share."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks import build

CLASSES = 3


@dataclass(frozen=True)
class Tiny:
    """Options that make a network small, and two windows, as small as it takes in training in a batch of 2."""

    options: dict[str, Any] = field(default_factory=dict)
    window: tuple[int, ...] = (32, 16, 16)
    other: tuple[int, ...] = (16, 32, 48)
    cases: int = 2  # in a training batch; two give batch norm something to work on


FAMILY = {"filters": (4, 6, 8, 10)}
TRANSFORMER = {
    "img_size": (32, 16, 16),
    "hidden_size": 12,
    "mlp_dim": 24,
    "num_heads": 2,
    "feature_size": 2,
}

TINY = {
    "unet": Tiny({"feature_scale": 16}),
    "attention_unet": Tiny({"feature_scale": 16}),
    "unetr": Tiny(TRANSFORMER),
    "unet_plus_plus": Tiny(FAMILY),
    "unet_plus": Tiny(FAMILY),
    "unet_e": Tiny(FAMILY),
    "wide_unet": Tiny({"depth": 1}, window=(16, 16, 16), other=(8, 16, 12)),
    "uctransnet": Tiny({"img_size": (32, 16, 16), "width": 4, "layers": 1, "heads": 2}),
    "transfuse": Tiny(
        {
            "img_size": (32, 16, 16),
            "widths": (4, 6, 8),
            "blocks": (1, 1, 1),
            "embed_dim": 12,
            "depth": 2,
            "heads": 2,
        }
    ),
    "transunet": Tiny(
        {
            "img_size": (32, 16, 16),
            "stem_width": 4,
            "units": (1, 1, 1),
            "groups": 2,
            "hidden_size": 12,
            "num_layers": 2,
            "num_heads": 2,
            "mlp_dim": 24,
            "decoder_widths": (16, 8, 8, 4, 4),
        }
    ),
    "UNet": Tiny({"channels": (4, 6, 8)}),
    "DynUNet": Tiny(
        {
            "kernel_size": (3, 3, 3, 3),
            "filters": (4, 6, 8, 8),
            "deep_supervision": True,
            "deep_supr_num": 2,
        }
    ),
    "SegResNet": Tiny({"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)}),
    "SwinUNETR": Tiny(
        {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4},
        window=(64, 32, 32),
        other=(32, 32, 64),
        cases=1,
    ),
    "VNet": Tiny(
        {"dropout_prob_down": None, "dropout_prob_up": (None, 0.0)},
        window=(16, 16, 16),
        other=(16, 32, 16),
    ),
    "UNETR": Tiny(TRANSFORMER),
    "MedNeXt": Tiny(
        {"init_filters": 4, "blocks_down": (1, 1), "blocks_up": (1, 1), "blocks_bottleneck": 1}
        | {"deep_supervision": True}
    ),
}

every_network = pytest.mark.parametrize("name", sorted(TINY))


def tiny(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, out_channels=CLASSES, **TINY[name].options)


def stirred(name: str) -> nn.Module:
    """In eval mode, with running statistics other than 0 and 1, and norms that are not the identity."""
    net = tiny(name)
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dtype.is_floating_point and value.dim() == 1:
            value.add_(torch.randn_like(value) * 0.2)
    return net.eval()


def noise(name: str, batch: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, 1, *TINY[name].window)


def heads(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs in training mode; those of a network with one head in a list."""
    outputs = net.train()(x)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
