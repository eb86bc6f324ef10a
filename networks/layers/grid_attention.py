"""The grid attention gate of Attention U-Net (Oktay et al. 2018, arXiv 1804.03999).

A gate looks at a skip connection's features ``x`` and at a coarser gating signal ``g``, finds one
coefficient in 0..1 a voxel and multiplies the features by it, so that regions of no interest are
dimmed before the decoder sees them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import ConvUnit, convolution, resize, spatial_size

GATINGS = ("sigmoid", "softplus", "softmax")
"""How features become coefficients, as the authors published it.

* ``"sigmoid"``, the paper's: relu on f, then a sigmoid at each position.
* ``"softplus"``: softplus in place of the relu.
* ``"softmax"``: relu on f, then a softmax over all positions in place of the sigmoid: a case's
  coefficients on the attention grid sum to 1. A constant added to all scores changes nothing then,
  so psi's bias keeps its value.
"""


class GridAttentionGate(nn.Module):
    """One gate: f = relu(theta(x) + resize(phi(g))), output = W(resize(sigmoid(psi(f))) * x).

    These are the paper's activations; ``gating`` has the others.

    theta is a convolution of kernel and stride ``subsample`` without bias, phi and psi are 1x1x1
    with bias, W (here ``output``) is 1x1x1 with bias and norm, without activation. Interpolation is
    linear: f lies on theta(x)'s grid, a on x's. x must have ``subsample`` voxels or more along each
    axis.

    Args:
        subsample: voxels of x to one of the attention grid, one number or one per axis.
        gating: how features become coefficients, one of GATINGS.
        norm: "batch" (the paper's) or "instance".
        align_corners: for all interpolation. The authors' code ran under the old default of
            PyTorch, True.

    Raises:
        ValueError: an unknown ``gating`` or ``norm``, or a ``subsample`` that does not suit
            ``spatial_dims``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        gating_channels: int,
        *,
        subsample: int | Sequence[int] = 2,
        gating: str = "sigmoid",
        norm: str = "batch",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if gating not in GATINGS:
            raise ValueError(f"gating is {gating!r}: choose one of {', '.join(GATINGS)}.")
        self.align_corners, self.gating = align_corners, gating
        step = per_axis(subsample, spatial_dims)
        self.theta = convolution(
            spatial_dims, in_channels, in_channels, kernel_size=step, stride=step, bias=False
        )
        self.phi = convolution(spatial_dims, gating_channels, in_channels)
        self.psi = convolution(spatial_dims, in_channels, 1)
        self.output = ConvUnit(spatial_dims, in_channels, in_channels, norm=norm, activation=False)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """X (B, C, ...), g (B, gating_channels, ...) -> as x, coefficients (B, 1, ...)."""
        coefficients = self.coefficients(x, g)
        return self.output(coefficients * x), coefficients

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """The coefficients alone: (B, 1, ... of x), 0..1."""
        theta = self.theta(x)
        phi = resize(self.phi(g), spatial_size(theta), self.align_corners)
        f = theta + phi
        scores = self.psi(functional.softplus(f) if self.gating == "softplus" else torch.relu(f))
        if self.gating == "softmax":
            coefficients = torch.softmax(scores.flatten(1), dim=1).view_as(scores)
        else:
            coefficients = torch.sigmoid(scores)
        return resize(coefficients, spatial_size(x), self.align_corners)


class ParallelGates(nn.Module):
    """``count`` gates on the same x and g, concatenated and mixed back to x's channels.

    ``combine`` is 1x1x1 convolution (count * C -> C), norm and ReLU; it is there for one gate too,
    as in the paper's CT networks. The other arguments are GridAttentionGate's.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        gating_channels: int,
        *,
        count: int,
        subsample: int | Sequence[int] = 2,
        gating: str = "sigmoid",
        norm: str = "batch",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            GridAttentionGate(
                spatial_dims,
                in_channels,
                gating_channels,
                subsample=subsample,
                gating=gating,
                norm=norm,
                align_corners=align_corners,
            )
            for _ in range(count)
        )
        self.combine = ConvUnit(spatial_dims, count * in_channels, in_channels, norm=norm)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """As GridAttentionGate, with coefficients (B, count, ... of x)."""
        outputs: list[Tensor] = []
        coefficients: list[Tensor] = []
        for gate in self.gates:
            gated, a = gate(x, g)
            outputs.append(gated)
            coefficients.append(a)
        return self.combine(torch.cat(outputs, dim=1)), torch.cat(coefficients, dim=1)


def per_axis(value: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """One positive whole number per axis: 2 -> (2, 2, 2); else ValueError."""
    values = (value,) * spatial_dims if isinstance(value, int) else tuple(value)
    if len(values) != spatial_dims or any(number < 1 for number in values):
        raise ValueError(
            f"subsample is {value}: give a whole number of 1 or more, or {spatial_dims} of them, "
            "one per axis."
        )
    return values
