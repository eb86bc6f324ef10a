"""HybridResNet: its convolutions and norms by numpy, its size, its maps."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn

from gridgate.networks.layers.hybrid_resnet import (
    Bottleneck,
    HybridResNet,
    StandardisedConv2d,
    StandardisedConv3d,
    StandardisedUnit,
    standardise,
)


def test_standardised_weights_by_hand() -> None:
    """1, 2, 3, 4: mean 2.5, population variance 1.25.

    The second filter is constant, so only eps divides its 0.
    """
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [7.0, 7.0, 7.0, 7.0]], dtype=torch.float64).view(
        2, 1, 2, 2
    )
    root = (1.25 + 1e-5) ** 0.5
    expected = [[-1.5 / root, -0.5 / root, 0.5 / root, 1.5 / root], [0.0] * 4]
    torch.testing.assert_close(
        standardise(weight).view(2, 4), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("scale", [1.0, 3e-3])  # at the second the variance is as small as eps
def test_standardised_convolution_is_numpys(scale: float) -> None:
    torch.manual_seed(0)
    conv = StandardisedConv3d(2, 3, 3, stride=2, padding=1, bias=False).double()
    nn.init.normal_(conv.weight, 0.4, scale)
    x = torch.randn(1, 2, 5, 4, 6, dtype=torch.float64)
    w = conv.weight.detach().numpy()
    w = np.stack([(f - f.mean()) / np.sqrt(f.var() + 1e-5) for f in w])
    padded = np.pad(x.numpy()[0], ((0, 0), (1, 1), (1, 1), (1, 1)))
    out = conv(x).detach().numpy()[0]
    assert out.shape == (3, 3, 2, 3)
    for i, j, k in np.ndindex(out.shape[1:]):
        patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, 2 * k : 2 * k + 3]
        np.testing.assert_allclose(
            out[:, i, j, k], (w * patch).sum((1, 2, 3, 4)), rtol=1e-9, atol=1e-12
        )


def test_scale_and_shift_of_a_filter_do_not_matter_but_train() -> None:
    torch.manual_seed(0)
    conv = StandardisedConv2d(4, 2, 3, bias=False).double()
    nn.init.normal_(conv.weight)
    x = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    before = conv(x)
    torch.testing.assert_close(
        nn.functional.conv2d(x, standardise(5 * conv.weight + 2)), before, rtol=1e-4, atol=1e-4
    )
    (gradient,) = torch.autograd.grad(before.square().sum(), [conv.weight])
    assert gradient.abs().max() > 1e-3
    # the output does not change along either of the two directions, so neither does the gradient
    # point there
    assert gradient.sum((1, 2, 3)).abs().max() < 1e-9
    assert (gradient * conv.weight).sum((1, 2, 3)).abs().max() < 1e-3 * gradient.abs().max()


@pytest.mark.parametrize(("groups", "options", "eps"), [(2, {}, 1e-6), (4, {"eps": 1e-5}, 1e-5)])
def test_group_norm_is_numpys(groups: int, options: dict[str, Any], eps: float) -> None:
    torch.manual_seed(0)
    unit = StandardisedUnit(
        2, 3, 4, groups=groups, kernel_size=3, activation=False, **options
    ).double()
    norm = unit.get_submodule("norm")
    assert isinstance(norm, nn.GroupNorm)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64) * 1e-4  # so small that eps counts
    features = unit.get_submodule("conv")(x).detach().numpy()
    each = features.reshape(2, groups, -1)
    each = (each - each.mean(-1, keepdims=True)) / np.sqrt(each.var(-1, keepdims=True) + eps)
    w, b = (p.detach().numpy().reshape(1, 4, 1, 1) for p in (norm.weight, norm.bias))
    expected = each.reshape(features.shape) * w + b
    np.testing.assert_allclose(unit(x).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_parameters_are_those_of_a_resnet_of_3_4_9_units() -> None:
    """MONAI's ResNet has the same shapes (batch norm has as many parameters as group norm)."""
    with torch.device("meta"):
        ours = HybridResNet(2, 3)
        monai = ResNet(
            "bottleneck",
            [3, 4, 9, 3],
            [64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=3,
            bias_downsample=False,
        )

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    parts = [monai.conv1, monai.bn1, monai.layer1, monai.layer2, monai.layer3]
    assert count(ours) == sum(map(count, parts))
    assert [count(stage) for stage in ours.stages] == [count(part) for part in parts[2:]]
    assert count(ours) == 11_894_848


@pytest.mark.parametrize("size", [(224, 96), (32, 48, 16)])
def test_maps_and_their_border_of_zeros(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = HybridResNet(len(size), 2, width=2, groups=1, units=(1, 1, 1))
    seen: list[Tensor] = []
    net.stages[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        deepest, (eighth, quarter, half) = net(torch.randn(1, 2, *size))
    for level, features, channels in (
        (16, deepest, 32),
        (8, eighth, 16),
        (4, quarter, 8),
        (2, half, 2),
    ):
        assert features.shape == (1, channels, *(voxels // level for voxels in size))
    inside = seen[0]
    assert inside.shape[2:] == tuple(
        voxels // 4 - 1 for voxels in size
    )  # the pooling has no padding
    assert torch.equal(quarter[(..., *(slice(n) for n in inside.shape[2:]))], inside)
    assert quarter.sum().item() == pytest.approx(
        inside.sum().item(), rel=1e-5
    )  # ReLU: nothing negative, so the rest is 0


def test_shortcuts_only_where_the_shape_changes() -> None:
    net = HybridResNet(2, 3, width=4, groups=2, units=(2, 1, 2))
    units = [unit for stage in net.stages for unit in stage]
    projected = [not isinstance(unit.shortcut, nn.Identity) for unit in units]
    assert projected == [True, False, True, True, False]
    for unit in units:
        assert isinstance(unit, Bottleneck)
        # with the third convolution's norm at 0 what is left is the shortcut, and the ReLU on the
        # sum
        nn.init.zeros_(unit.third.get_parameter("norm.weight"))
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(units[1](x), x.relu())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_standardised_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = (torch.randn(8, 64, 3, 3) * 1e-3).to(dtype)  # variance 1e-6: nothing in float16
    half = standardise(weight)
    assert half.dtype == dtype
    assert torch.equal(half, standardise(weight.float()).to(dtype))
    assert half.float().std().item() == pytest.approx(1e-3 / (1e-6 + 1e-5) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 48}, "48 .* 32 groups"),
        ({"groups": 0}, "0 groups"),
        ({"units": (3, 4)}, "three positive numbers"),
        ({"units": (3, 0, 9)}, "three positive numbers"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        HybridResNet(2, 3, **options)
