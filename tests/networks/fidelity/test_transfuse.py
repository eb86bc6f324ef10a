"""TransFuse written a second time, as plain functions on a dict of weights, and held against ours.

The second writing follows section 5 of NETWORKS.md and shares nothing with gridgate.networks but
the names of the weights, so agreement to rounding means that both are the paper's network.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from gridgate.networks.transfuse import TransFuse

TINY: dict[str, Any] = {
    "S": {
        "size": "S",
        "widths": (4, 6, 8),
        "blocks": (2, 1, 2),
        "embed_dim": 12,
        "depth": 2,
        "heads": 3,
    },
    "L": {
        "size": "L",
        "widths": (8, 12, 16),
        "blocks": (1, 2, 1),
        "embed_dim": 8,
        "depth": 1,
        "heads": 2,
    },
}


def enlarge(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Linear interpolation with aligned corners as a product with a matrix per axis."""
    for axis, new in enumerate(size):
        old = x.shape[axis + 2]
        matrix = torch.zeros(new, old, dtype=x.dtype)
        for i in range(new):
            place = i * (old - 1) / (new - 1) if new > 1 else 0.0
            left = min(int(place), old - 1)
            matrix[i, left] += 1 - (place - left)
            matrix[i, min(left + 1, old - 1)] += place - left
        x = torch.movedim(torch.tensordot(x, matrix, dims=([axis + 2], [1])), -1, axis + 2)
    return x


class Reference:
    """The network with these weights, of size "S" or "L".

    ``Reference(weights, size, grid)(x)`` -> three maps.

    ``dropped`` stands for the dropouts: the factor that the maps of the branches get, and the
    fusions'.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        options: dict[str, Any],
        grid: tuple[int, ...],
        *,
        training: bool = False,
        dropped: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.w, self.options, self.grid = weights, options, grid
        self.training, self.dropped = training, dropped

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = self.w[f"{name}.weight"]
        function = f.conv3d if x.dim() == 5 else f.conv2d
        return function(
            x, kernel, self.w.get(f"{name}.bias"), stride=stride, padding=kernel.shape[2] // 2
        )

    def norm(self, x: Tensor, name: str) -> Tensor:
        w, shape = self.w, (1, -1) + (1,) * (x.dim() - 2)
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        if self.training:
            axes = [0, *range(2, x.dim())]
            mean, var = x.mean(axes), x.var(axes, unbiased=False)
        normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return normal * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)

    def unit(self, x: Tensor, name: str) -> Tensor:
        return self.norm(self.conv(x, f"{name}.conv"), f"{name}.norm")

    def stage(self, x: Tensor, name: str, blocks: int, stride: int) -> Tensor:
        for i in range(blocks):
            block, step = f"{name}.{i}", stride if i == 0 else 1
            if self.options["size"] == "S":
                y = self.norm(self.conv(x, f"{block}.conv1", step), f"{block}.bn1").clamp(min=0)
                y = self.norm(self.conv(y, f"{block}.conv2"), f"{block}.bn2")
            else:
                y = self.norm(self.conv(x, f"{block}.conv1"), f"{block}.bn1").clamp(min=0)
                y = self.norm(self.conv(y, f"{block}.conv2", step), f"{block}.bn2").clamp(min=0)
                y = self.norm(self.conv(y, f"{block}.conv3"), f"{block}.bn3")
            if f"{block}.downsample.0.weight" in self.w:
                x = self.norm(self.conv(x, f"{block}.downsample.0", step), f"{block}.downsample.1")
            x = (x + y).clamp(min=0)
        return x

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def vit(self, x: Tensor) -> Tensor:
        function = f.conv3d if x.dim() == 5 else f.conv2d
        name, heads = "transformer", self.options["heads"]
        x = function(x, self.w[f"{name}.patches.weight"], self.w[f"{name}.patches.bias"], stride=16)
        grid, (batch, width) = tuple(x.shape[2:]), x.shape[:2]
        positions = self.w[f"{name}.positions"].transpose(1, 2).reshape(1, width, *self.grid)
        x = (x + enlarge(positions, grid)).flatten(2).transpose(1, 2)
        for i in range(self.options["depth"]):
            block = f"{name}.blocks.{i}"
            q, k, v = self.linear(
                self.layer_norm(x, f"{block}.norm1"), f"{block}.attention.qkv"
            ).chunk(3, dim=-1)
            mixed = []
            for a, b, c in zip(
                q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True
            ):
                mixed.append(
                    torch.softmax(a @ b.transpose(1, 2) / math.sqrt(width / heads), dim=-1) @ c
                )
            x = x + self.linear(torch.cat(mixed, -1), f"{block}.attention.proj")
            y = self.linear(self.layer_norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
            x = x + self.linear(y * (1 + torch.erf(y / math.sqrt(2))) / 2, f"{block}.mlp.fc2")
        return self.layer_norm(x, f"{name}.norm").transpose(1, 2).reshape(batch, width, *grid)

    def double(self, x: Tensor, name: str) -> Tensor:
        y = self.unit(self.unit(x, f"{name}.first").clamp(min=0), f"{name}.second")
        return (y + self.unit(x, f"{name}.shortcut")).clamp(min=0)

    def up(self, x: Tensor, name: str, skip: Tensor | None = None) -> Tensor:
        x = enlarge(x, tuple(2 * size for size in x.shape[2:]))
        if skip is not None:
            both = self.unit(x, f"{name}.gate.project_gating") + self.unit(
                skip, f"{name}.gate.project_skip"
            )
            x = torch.cat(
                [skip * torch.sigmoid(self.unit(both.clamp(min=0), f"{name}.gate.score")), x], dim=1
            )
        return self.double(x, f"{name}.block")

    def fuse(self, g: Tensor, x: Tensor, name: str) -> Tensor:
        product = self.unit(g, f"{name}.project_cnn") * self.unit(x, f"{name}.project_transformer")
        product = self.unit(product, f"{name}.product").clamp(min=0)
        summary = torch.cat([g.max(dim=1, keepdim=True)[0], g.mean(dim=1, keepdim=True)], dim=1)
        g = g * torch.sigmoid(
            self.norm(self.conv(summary, f"{name}.spatial_conv"), f"{name}.spatial_norm")
        )
        mean = x.flatten(2).mean(2).view(*x.shape[:2], *[1] * (x.dim() - 2))
        x = x * torch.sigmoid(
            self.conv(self.conv(mean, f"{name}.squeeze").clamp(min=0), f"{name}.excite")
        )
        joined = y = torch.cat([g, x, product], dim=1)
        for k in (1, 2, 3):
            y = self.conv(
                self.norm(y, f"{name}.residual.norm{k}").clamp(min=0), f"{name}.residual.conv{k}"
            )
        return (y + self.conv(joined, f"{name}.residual.skip")) * self.dropped[1]

    def head(self, x: Tensor, name: str, first: int, factor: int) -> Tensor:
        x = self.unit(x, f"{name}.{first}").clamp(min=0)
        return enlarge(
            self.conv(x, f"{name}.{first + 1}"), tuple(factor * size for size in x.shape[2:])
        )

    def __call__(self, x: Tensor) -> list[Tensor]:
        drop, blocks = self.dropped[0], self.options["blocks"]
        t0 = self.vit(x) * drop
        t1 = self.up(t0, "up1") * drop
        t2 = self.up(t1, "up2") * drop
        stem = self.norm(self.conv(x, "trunk.conv1", 2), "trunk.bn1").clamp(min=0)
        pool = f.max_pool3d if x.dim() == 5 else f.max_pool2d
        g2 = self.stage(pool(stem, 3, 2, 1), "trunk.layer1", blocks[0], 1) * drop
        g1 = self.stage(g2, "trunk.layer2", blocks[1], 2) * drop
        g0 = self.stage(g1, "trunk.layer3", blocks[2], 2) * drop
        f0 = self.fuse(g0, t0, "fuse0")
        f1 = self.up(f0, "joint1", self.fuse(g1, t1, "fuse1"))
        f2 = self.up(f1, "joint2", self.fuse(g2, t2, "fuse2"))
        map_x = self.head(self.unit(f0, "head_x.0").clamp(min=0), "head_x", 1, 16)
        return [self.head(f2, "head_2", 0, 4), self.head(t2, "head_1", 0, 4), map_x]


class Scaled(nn.Module):
    """Stands in for a dropout, so that where it acts can be seen."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def stirred(spatial_dims: int, size: str, dropped: tuple[float, float] = (1.0, 1.0)) -> TransFuse:
    """In double precision, with no parameter or statistic left at 0 or 1.

    Such values could hide a mistake.
    """
    torch.manual_seed(0)
    net = TransFuse(spatial_dims, 3, 2, img_size=(48, 32, 32)[:spatial_dims], **TINY[size]).double()
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dtype.is_floating_point and value.dim() == 1:
            value.add_(torch.randn_like(value) * 0.3)
        elif key.endswith(("attention.qkv.weight", "positions")):
            value.normal_()
    net.dropout = Scaled(dropped[0])
    for fusion in (net.fuse0, net.fuse1, net.fuse2):
        fusion.dropout = Scaled(dropped[1])
    return net.eval()


@pytest.mark.parametrize("size", ["S", "L"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("window", [(48, 32, 32), (32, 64, 16)])
def test_agrees_with_an_independent_writing(
    size: str, spatial_dims: int, window: tuple[int, ...]
) -> None:
    net = stirred(spatial_dims, size)
    x = torch.randn(2, 3, *window[:spatial_dims], dtype=torch.float64)
    with torch.no_grad():
        ours = net(x)
        theirs = Reference(net.state_dict(), TINY[size], (3, 2, 2)[:spatial_dims])(x)[0]
    assert ours.shape == (2, 2, *x.shape[2:])
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


@pytest.mark.parametrize("size", ["S", "L"])
def test_agrees_in_training_in_all_maps_and_gradients_and_in_where_dropout_is(size: str) -> None:
    dropped = (0.75, 0.625)
    net = stirred(2, size, dropped).train()
    x = torch.randn(2, 3, 48, 32, dtype=torch.float64)
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    weights = {**net.state_dict(), **named}
    theirs = Reference(weights, TINY[size], (3, 2), training=True, dropped=dropped)(x)
    ours = net(x)
    assert len(ours) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.abs().max()
    grads = [
        torch.autograd.grad(sum(m.square().mean() for m in maps), list(named.values()))
        for maps in (ours, theirs)
    ]
    largest = max(g.abs().max() for g in grads[1])
    for name, a, b in zip(named, *grads, strict=True):
        assert (a - b).abs().max() <= 1e-9 * largest, name
