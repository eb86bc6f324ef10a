"""The baseline U-Net: the paper's sizes, and the attention network with its gates taken out."""

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks import AttentionUNet, UNet


@pytest.mark.parametrize(("feature_scale", "count"), [(4, 5_888_004), (3, 10_403_190)])
def test_parameter_count_is_the_papers(feature_scale: int, count: int) -> None:
    with torch.device("meta"):
        net = UNet(3, 1, 4, feature_scale=feature_scale)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


class Open(nn.Module):
    """A gate that is not there."""

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.ones_like(x[:, :1])


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_is_the_attention_network_without_gates(spatial_dims: int, norm: str) -> None:
    torch.manual_seed(0)
    attention = AttentionUNet(spatial_dims, 2, 3, feature_scale=32, norm=norm).eval()
    attention.gate2, attention.gate3, attention.gate4 = Open(), Open(), Open()
    net = UNet(spatial_dims, 2, 3, feature_scale=32, norm=norm).eval()
    own = net.state_dict().keys()
    net.load_state_dict({key: value for key, value in attention.state_dict().items() if key in own})
    x = torch.randn(2, 2, *(33, 16, 32)[:spatial_dims])
    assert torch.equal(net(x), attention(x))


def test_scripts_and_exports() -> None:
    net = UNet(3, 1, 2, feature_scale=32).eval()
    x = torch.randn(1, 1, 16, 17, 32)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))


def test_every_parameter_gets_a_gradient_and_errors_are_named() -> None:
    net = UNet(2, 1, 2, feature_scale=32)
    net(torch.randn(1, 1, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    with pytest.raises(ValueError, match="window is too small"):
        net(torch.randn(1, 1, 16, 16))
    with pytest.raises(ValueError, match="2 or 3"):
        UNet(4)
