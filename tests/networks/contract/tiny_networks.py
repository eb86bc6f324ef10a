"""Every network of the registry, tiny: what the contract's tests share."""

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks import NETWORKS, build, network_facts

CLASSES = 3


TINY = {name: network_facts(name).tiny for name in NETWORKS}

every_network = pytest.mark.parametrize("name", sorted(TINY))


def tiny(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, out_channels=CLASSES, **TINY[name].options)


def stirred(name: str) -> nn.Module:
    """In eval mode, with running statistics other than 0 and 1.

    Norms that are not the identity.
    """
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
