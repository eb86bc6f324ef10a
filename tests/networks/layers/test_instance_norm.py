"""Instance normalisation against PyTorch's, in double precision, and by hand."""

import pytest
import torch
from torch import nn

from gridgate.networks.layers.instance_norm import InstanceNorm2d, InstanceNorm3d

LAYOUTS = {
    "2D": (InstanceNorm2d, nn.InstanceNorm2d, (3, 5, 6, 4), torch.channels_last),
    "3D": (InstanceNorm3d, nn.InstanceNorm3d, (3, 5, 6, 4, 7), torch.channels_last_3d),
    "16 channels": (InstanceNorm3d, nn.InstanceNorm3d, (3, 16, 6, 4, 7), torch.channels_last_3d),
    "one image": (InstanceNorm3d, nn.InstanceNorm3d, (1, 5, 6, 4, 7), torch.channels_last_3d),
    "one channel": (InstanceNorm3d, nn.InstanceNorm3d, (2, 1, 6, 4, 7), torch.channels_last_3d),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_values_and_gradients_are_those_of_pytorch(layout: str, mode: str) -> None:
    ours, pytorchs, shape, innermost = LAYOUTS[layout]
    torch.manual_seed(0)
    norm, reference = ours(shape[1], affine=True).double(), pytorchs(shape[1], affine=True).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    reference.load_state_dict(norm.state_dict())
    norm.train(mode == "train")
    reference.train(mode == "train")
    x = torch.randn(shape, dtype=torch.double) * 3 + 2
    last = x.contiguous(memory_format=innermost).requires_grad_()
    first = x.detach().clone().requires_grad_()
    factor = torch.randn(shape, dtype=torch.double)
    (norm(last) * factor).sum().backward()
    (reference(first) * factor).sum().backward()
    torch.testing.assert_close(norm(last), reference(first))
    torch.testing.assert_close(last.grad, first.grad)
    torch.testing.assert_close(norm.weight.grad, reference.weight.grad)
    torch.testing.assert_close(norm.bias.grad, reference.bias.grad)


@pytest.mark.parametrize("layout", ["2D", "3D", "16 channels", "one image"])
@pytest.mark.parametrize("trained", [False, True])
def test_channels_stay_innermost(layout: str, trained: bool) -> None:
    ours, _, shape, innermost = LAYOUTS[layout]
    x = torch.randn(shape).contiguous(memory_format=innermost).requires_grad_(trained)
    assert ours(shape[1], affine=True)(x).is_contiguous(memory_format=innermost)


def test_each_image_has_statistics_of_its_own() -> None:
    # channel 0 of the first image: 0 and 2, mean 1, variance 1; of the second: 10 and 14, 12 and 4
    x = torch.tensor([[[[[0.0, 2.0]]], [[[1.0, 3.0]]]], [[[[10.0, 14.0]]], [[[5.0, 5.5]]]]])
    norm = InstanceNorm3d(2, affine=True, eps=1e-9)
    y = norm(x.contiguous(memory_format=torch.channels_last_3d))
    expected = torch.tensor([-1.0, 1.0]).expand(2, 2, 1, 1, 2)
    torch.testing.assert_close(y, expected)


def test_a_trace_of_one_image_takes_several() -> None:
    x = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    norm = InstanceNorm3d(3, affine=True).eval()
    traced = torch.jit.trace(norm, x[:1])
    torch.testing.assert_close(traced(x), norm(x))


def test_a_network_that_is_scripted_has_the_same_values_and_gradients() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm3d(3, affine=True)
    x = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    factor = torch.randn(x.shape)
    expected = torch.autograd.grad((norm(x) * factor).sum(), x)
    scripted = torch.jit.script(norm)
    torch.testing.assert_close(torch.autograd.grad((scripted(x) * factor).sum(), x), expected)
