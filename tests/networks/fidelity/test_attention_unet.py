"""Attention U-Net written a second time, as plain functions on a dict of weights.

It is held against ours.

The second writing follows the table in NETWORKS.md and shares nothing with gridgate.networks but
the names of the weights, so agreement to rounding means that both are the paper's network.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from gridgate.networks import AttentionUNet


class Reference:
    """The network with these weights: ``Reference(weights, variant)(x)``.

    2D or 3D by the rank of ``x``.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        variant: str,
        *,
        align_corners: bool = False,
        training: bool = False,
    ) -> None:
        self.weights, self.variant, self.align, self.training = (
            weights,
            variant,
            align_corners,
            training,
        )

    def conv(
        self,
        x: Tensor,
        name: str,
        stride: tuple[int, ...] | int = 1,
        pad: tuple[int, ...] | int = 0,
    ) -> Tensor:
        function = f.conv3d if x.dim() == 5 else f.conv2d
        bias = self.weights.get(f"{name}.bias")
        return function(x, self.weights[f"{name}.weight"], bias, stride=stride, padding=pad)

    def norm(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        shape = (1, -1) + (1,) * (x.dim() - 2)
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        if self.training:
            axes = [0, *range(2, x.dim())]
            mean, var = x.mean(axes), x.var(axes, unbiased=False)
        normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return normal * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)

    def unit(self, x: Tensor, name: str) -> Tensor:
        return self.norm(self.conv(x, f"{name}.conv"), f"{name}.norm")

    def block(self, x: Tensor, name: str) -> Tensor:
        pad = (1, 1, 0) if self.variant == "grid_gating" else (1, 1, 1)
        for part in ("first", "second"):
            x = self.conv(x, f"{name}.{part}.conv", pad=pad[: x.dim() - 2])
            x = self.norm(x, f"{name}.{part}.norm").clamp(min=0)
        return x

    def pool(self, x: Tensor) -> Tensor:
        size = 1 if self.variant == "grid_gating" else 2
        return f.max_pool3d(x, (2, 2, size)) if x.dim() == 5 else f.max_pool2d(x, 2)

    def enlarge(self, x: Tensor, factor: int) -> Tensor:
        factors = (factor, factor, 1 if self.variant == "grid_gating" else factor)[: x.dim() - 2]
        mode = "trilinear" if x.dim() == 5 else "bilinear"
        return f.interpolate(x, scale_factor=factors, mode=mode, align_corners=self.align)

    def gate(self, x: Tensor, g: Tensor, name: str) -> tuple[Tensor, Tensor]:
        mode = "trilinear" if x.dim() == 5 else "bilinear"
        theta = self.conv(x, f"{name}.theta", stride=2)
        phi = f.interpolate(
            self.conv(g, f"{name}.phi"), theta.shape[2:], mode=mode, align_corners=self.align
        )
        a = 1 / (1 + (-self.conv((theta + phi).clamp(min=0), f"{name}.psi")).exp())
        a = f.interpolate(a, x.shape[2:], mode=mode, align_corners=self.align)
        return self.unit(a * x, f"{name}.output"), a

    def gated_skip(self, x: Tensor, g: Tensor, name: str) -> Tensor:
        if self.variant == "grid_gating":
            return self.gate(x, g, name)[0]
        count = 2 if self.variant == "ct_multi" else 1
        both = [self.gate(x, g, f"{name}.gates.{i}")[0] for i in range(count)]
        return self.unit(torch.cat(both, dim=1), f"{name}.combine").clamp(min=0)

    def __call__(self, x: Tensor) -> Tensor:
        skip1 = self.block(x, "down1")
        skip2 = self.block(self.pool(skip1), "down2")
        skip3 = self.block(self.pool(skip2), "down3")
        skip4 = self.block(self.pool(skip3), "down4")
        bottom = self.block(self.pool(skip4), "bottom")
        signal = self.unit(bottom, "gating_signal").clamp(min=0)
        one_signal = self.variant == "grid_gating"
        up4 = self.block(
            torch.cat([self.gated_skip(skip4, signal, "gate4"), self.enlarge(bottom, 2)], dim=1),
            "up4.block",
        )
        g3 = signal if one_signal else up4
        up3 = self.block(
            torch.cat([self.gated_skip(skip3, g3, "gate3"), self.enlarge(up4, 2)], dim=1),
            "up3.block",
        )
        g2 = signal if one_signal else up3
        up2 = self.block(
            torch.cat([self.gated_skip(skip2, g2, "gate2"), self.enlarge(up3, 2)], dim=1),
            "up2.block",
        )
        up1 = self.block(torch.cat([skip1, self.enlarge(up2, 2)], dim=1), "up1.block")
        if one_signal:
            return self.conv(up1, "head.level1")
        heads = [self.conv(up1, "head.level1")]
        for level, up, factor in ((2, up2, 2), (3, up3, 4), (4, up4, 8)):
            heads.append(self.enlarge(self.conv(up, f"head.level{level}"), factor))
        return self.conv(torch.cat(heads, dim=1), "head.fuse")


def stirred(spatial_dims: int, *, variant: str, align_corners: bool) -> AttentionUNet:
    """In double precision, with no parameter or statistic left at 0 or 1.

    Such values could hide a mistake.
    """
    torch.manual_seed(0)
    net = AttentionUNet(
        spatial_dims, 1, 3, variant=variant, align_corners=align_corners, feature_scale=16
    ).double()
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dtype.is_floating_point and value.dim() == 1:
            value.add_(torch.randn_like(value) * 0.3)
    return net.eval()


@pytest.mark.parametrize("variant", ["ct_multi", "ct_single", "grid_gating"])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_agrees_with_an_independent_writing(
    variant: str, align_corners: bool, spatial_dims: int
) -> None:
    net = stirred(spatial_dims, variant=variant, align_corners=align_corners)
    depth = 5 if variant == "grid_gating" else 16
    x = torch.randn(2, 1, *(48, 32, depth)[:spatial_dims], dtype=torch.float64)
    with torch.no_grad():
        ours = net(x)
        theirs = Reference(net.state_dict(), variant, align_corners=align_corners)(x)
    assert ours.shape == (2, 3, *x.shape[2:])
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def test_agrees_in_training_and_in_every_gradient() -> None:
    net = stirred(3, variant="ct_multi", align_corners=False).train()
    x = torch.randn(2, 1, 32, 16, 16, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters()]
    parameters = list(net.parameters())
    reference = Reference(
        {**net.state_dict(), **dict(net.named_parameters())}, "ct_multi", training=True
    )
    theirs = torch.autograd.grad(reference(x).square().mean(), parameters)
    ours = torch.autograd.grad(net(x).square().mean(), parameters)
    largest = max(g.abs().max() for g in theirs)
    for name, a, b in zip(names, ours, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-9 * largest, name
