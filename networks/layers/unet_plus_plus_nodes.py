"""What UNet++ and its family are made of: forms, nodes, and what each node sees.

From the papers (Zhou et al., arXiv 1807.10165 and 1912.05074). See unet_plus_plus.py for the
network.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .blocks import convolution, normalisation


@dataclass(frozen=True)
class Form:
    """What the two published forms differ in; the fields are arguments of UNetPlusPlus."""

    filters: tuple[int, ...]
    norm: str
    activation: str
    concat: str
    down: str
    head_bias: bool
    up_bias: bool
    dropout: float


FORMS = {
    "paper": Form((32, 64, 128, 256, 512), "none", "relu", "up_first", "pool", True, True, 0.5),
    "later": Form(
        (32, 64, 128, 256, 320, 320),
        "instance",
        "leaky_relu",
        "up_last",
        "stride",
        False,
        False,
        0.0,
    ),
}
"""Name of a form -> its settings: the papers' (Keras), and the authors' later one in PyTorch."""

WIRINGS = ("dense", "previous", "encoder")
CHOICES = {
    "norm": ("none", "batch", "instance"),
    "activation": ("relu", "leaky_relu"),
    "concat": ("up_first", "up_last"),
    "down": ("pool", "stride"),
}
SLOPE = 0.01  # of the leaky ReLU


class EncoderNode(nn.Module):
    """X^{level,0}: two units; without pooling the first halves the size, but at level 0."""

    def __init__(self, spatial_dims: int, in_channels: int, level: int, form: Form) -> None:
        super().__init__()
        width = form.filters[level]
        stride = 2 if level > 0 and form.down == "stride" else 1
        self.first = _unit(spatial_dims, in_channels, width, form, stride)
        self.second = _unit(spatial_dims, width, width, form)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, ...) -> (B, width, ...), halved at level > 0 without pooling."""
        return self.second(self.first(x))


class DecoderNode(nn.Module):
    """X^{level,column}, column > 0: the node below up-sampled, concatenation, two units.

    It finds what it sees among the features by name, "level_column".
    """

    def __init__(self, spatial_dims: int, level: int, column: int, wiring: str, form: Form) -> None:
        super().__init__()
        width = form.filters[level]
        below, *beside = parents(level, column, wiring)
        self.deeper = node_name(*below)
        self.same = [node_name(*node) for node in beside]
        self.up_first = form.concat == "up_first"
        self.up = Conv[Conv.CONVTRANS, spatial_dims](
            form.filters[level + 1], width, kernel_size=2, stride=2, bias=form.up_bias
        )
        self.first = _unit(spatial_dims, (1 + len(beside)) * width, width, form)
        self.second = _unit(spatial_dims, width, width, form)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Name of a node -> (B, its width, ... its size), of all it sees -> (B, width, ...)."""
        raised = [self.up(features[self.deeper])]
        same = [features[name] for name in self.same]
        return self.second(
            self.first(torch.cat(raised + same if self.up_first else same + raised, dim=1))
        )


def _unit(
    spatial_dims: int, in_channels: int, out_channels: int, form: Form, stride: int = 1
) -> nn.Sequential:
    unit = nn.Sequential()
    unit.add_module(
        "conv",
        convolution(
            spatial_dims, in_channels, out_channels, kernel_size=3, stride=stride, padding=1
        ),
    )
    if form.norm != "none":
        unit.add_module("norm", normalisation(spatial_dims, out_channels, form.norm))
    leaky = form.activation == "leaky_relu"
    unit.add_module(
        "activation", nn.LeakyReLU(SLOPE, inplace=True) if leaky else nn.ReLU(inplace=True)
    )
    if form.dropout > 0:
        unit.add_module("dropout", nn.Dropout(form.dropout))
    return unit


def parents(level: int, column: int, wiring: str) -> list[tuple[int, int]]:
    """The nodes (level, column) that a node sees; but in the encoder the up-sampled one first."""
    if column == 0:
        return [(level - 1, 0)] if level > 0 else []
    columns = {"dense": range(column), "previous": [column - 1], "encoder": [0]}[wiring]
    return [(level + 1, column - 1), *((level, k) for k in columns)]


def ancestors(depths: Sequence[int], wiring: str) -> list[str]:
    """Names of the nodes X^{0,d} for all depths d and of all that they see, directly or not."""
    found: set[tuple[int, int]] = set()
    waiting = [(0, d) for d in depths]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += parents(*node, wiring)
    return [node_name(*node) for node in sorted(found)]


def node_name(level: int, column: int) -> str:
    """X^{level,column} as it is called among the features and in state dicts."""
    return f"{level}_{column}"


def initialise_he(module: nn.Module, slope: float) -> None:
    """He normal by the values that one output sums over, biases 0; norms keep 1 and 0."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, a=slope)
    elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
        # kernel = stride: one output sums over in_channels values (torch counts out_channels times
        # the kernel)
        nn.init.normal_(module.weight, std=sqrt(2 / (1 + slope**2) / module.in_channels))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def check_form(form: Form) -> None:
    """ValueError for a field out of range."""
    for name, known in CHOICES.items():
        choose(name, getattr(form, name), known)
    if len(form.filters) < 2 or any(width < 1 for width in form.filters):
        raise ValueError(
            f"filters are {list(form.filters)}: give two or more positive numbers, the finest "
            "level first."
        )
    if not 0 <= form.dropout < 1:
        raise ValueError(f"dropout is {form.dropout}: it must be at least 0 and below 1.")


def choose(name: str, value: str, known: Collection[str]) -> None:
    """ValueError unless ``value``, of the argument ``name``, is among ``known``."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(known)}.")
