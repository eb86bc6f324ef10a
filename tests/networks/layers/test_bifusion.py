"""BiFusion's branches against numbers by hand and numpy writings of their formulas."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.layers.bifusion import BiFusion, PreActivationResidual


def stirred(module: nn.Module) -> nn.Module:
    """In double precision and eval mode, with no weight or statistic left at 0 or 1."""
    torch.manual_seed(0)
    for name, value in module.double().state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dtype.is_floating_point:
            value.normal_(std=0.5)
    return module.eval()


class Weights:
    """numpy writings of the layers with a module's weights, on arrays (C, ...) of one case."""

    def __init__(self, module: nn.Module) -> None:
        self.values = {name: value.numpy() for name, value in module.state_dict().items()}

    def conv(self, x: np.ndarray, name: str) -> np.ndarray:
        kernel, bias = self.values[f"{name}.weight"], self.values.get(f"{name}.bias")
        half = kernel.shape[2] // 2
        padded = np.pad(x, [(0, 0)] + [(half, half)] * (x.ndim - 1))
        y = np.zeros((kernel.shape[0], *x.shape[1:]))
        for index in np.ndindex(*kernel.shape[2:]):
            part = padded[
                (slice(None), *[slice(i, i + n) for i, n in zip(index, x.shape[1:], strict=True)])
            ]
            y += np.tensordot(kernel[(slice(None), slice(None), *index)], part, axes=1)
        return y if bias is None else y + self.column(bias, x)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean, var, scale, shift = (
            self.column(self.values[f"{name}.{key}"], x)
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * scale + shift

    @staticmethod
    def column(numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
        return numbers.reshape(-1, *[1] * (x.ndim - 1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.fixture(params=[2, 3])
def fusion(request: pytest.FixtureRequest) -> tuple[BiFusion, Weights, Tensor, Tensor]:
    """A BiFusion, its weights for numpy, a CNN map and a transformer map of uneven sizes."""
    module = BiFusion(request.param, 3, 4, 5, 6, reduction=2)
    stirred(module)
    size = (9, 8, 5)[: request.param]
    g, x = (
        torch.randn(2, 3, *size, dtype=torch.float64),
        torch.randn(2, 4, *size, dtype=torch.float64),
    )
    return module, Weights(module), g, x


def close(found: Tensor, expected: list[np.ndarray]) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.stack(expected), rtol=1e-10, atol=1e-10)


def bilinear(w: Weights, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    left = w.norm(w.conv(g, "project_cnn.conv"), "project_cnn.norm")
    right = w.norm(w.conv(x, "project_transformer.conv"), "project_transformer.norm")
    return np.maximum(w.norm(w.conv(left * right, "product.conv"), "product.norm"), 0)


def spatial(w: Weights, g: np.ndarray) -> np.ndarray:
    summary = np.stack([g.max(0), g.mean(0)])
    return sigmoid(w.norm(w.conv(summary, "spatial_conv"), "spatial_norm")) * g


def channel(w: Weights, x: np.ndarray) -> np.ndarray:
    mean = x.reshape(len(x), -1).mean(1)
    hidden = w.values["squeeze.weight"].reshape(2, 4) @ mean + w.values["squeeze.bias"]
    scores = (
        w.values["excite.weight"].reshape(4, 2) @ np.maximum(hidden, 0) + w.values["excite.bias"]
    )
    return w.column(sigmoid(scores), x) * x


def residual(w: Weights, x: np.ndarray, prefix: str) -> np.ndarray:
    y = x
    for number in (1, 2, 3):
        y = w.conv(np.maximum(w.norm(y, f"{prefix}norm{number}"), 0), f"{prefix}conv{number}")
    return y + (w.conv(x, f"{prefix}skip") if f"{prefix}skip.weight" in w.values else x)


def test_bilinear_branch(fusion: tuple[BiFusion, Weights, Tensor, Tensor]) -> None:
    module, w, g, x = fusion
    expected = [bilinear(w, g[b].numpy(), x[b].numpy()) for b in range(2)]
    assert 0 < np.mean(np.stack(expected) > 0) < 1  # the ReLU does something
    close(module.bilinear(g, x), expected)


def test_spatial_attention(fusion: tuple[BiFusion, Weights, Tensor, Tensor]) -> None:
    module, w, g, _ = fusion
    assert "spatial_conv.bias" not in w.values
    close(module.spatial_attention(g), [spatial(w, g[b].numpy()) for b in range(2)])


def test_channel_attention(fusion: tuple[BiFusion, Weights, Tensor, Tensor]) -> None:
    module, w, _, x = fusion
    close(module.channel_attention(x), [channel(w, x[b].numpy()) for b in range(2)])


def test_branches_are_joined_in_the_papers_order(
    fusion: tuple[BiFusion, Weights, Tensor, Tensor],
) -> None:
    module, w, g, x = fusion
    expected = []
    for b in range(2):
        left, right = g[b].numpy(), x[b].numpy()
        branches = np.concatenate([spatial(w, left), channel(w, right), bilinear(w, left, right)])
        expected.append(residual(w, branches, "residual."))
    close(module(g, x), expected)


def test_spatial_attention_by_hand() -> None:
    """Two channels, one pixel beside a blank one: maximum 4, mean 3 there.

    The 7x7 kernel sees both pixels.
    """
    module = BiFusion(2, 2, 2, 2, 2).double().eval()
    with torch.no_grad():
        module.spatial_conv.weight.zero_()
        module.spatial_conv.weight[0, 0, 3, 3] = 0.5  # the maximum, in place
        module.spatial_conv.weight[0, 1, 3, 2] = 1.0  # the mean, of the left neighbour
    g = torch.tensor([[4.0, 1.0], [2.0, 1.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    scale = 1 / np.sqrt(1 + 1e-5)  # batch norm of fresh statistics
    first, second = sigmoid(np.array(0.5 * 4 * scale)), sigmoid(np.array((0.5 * 1 + 3) * scale))
    expected = torch.tensor([[4 * first, second], [2 * first, second]]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(module.spatial_attention(g), expected, rtol=1e-12, atol=1e-12)


def test_channel_attention_by_hand() -> None:
    """Means 2 and -1; the hidden value is relu(2 - 1 + 0.5) = 1.5; scores 1.5 and -3."""
    module = BiFusion(2, 2, 2, 2, 2, reduction=2).double().eval()
    with torch.no_grad():
        module.squeeze.weight.fill_(1.0)
        module.squeeze.bias.fill_(0.5)
        module.excite.weight.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1))
        module.excite.bias.zero_()
    x = torch.tensor([[1.0, 3.0], [-3.0, 1.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    a, b = sigmoid(np.array(1.5)), sigmoid(np.array(-3.0))
    expected = torch.tensor([[a, 3 * a], [-3 * b, b]]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(module.channel_attention(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("in_channels", "out_channels"), [(6, 6), (5, 6), (6, 7)])
def test_residual_is_the_formula(in_channels: int, out_channels: int) -> None:
    block = stirred(PreActivationResidual(2, in_channels, out_channels))
    x = torch.randn(2, in_channels, 5, 4, dtype=torch.float64)
    expected = [residual(Weights(block), x[b].numpy(), "") for b in range(2)]
    assert np.stack(expected).min() < 0  # no ReLU at the end
    close(block(x), expected)


def test_residual_of_equal_widths_has_the_input_itself_as_skip() -> None:
    block = PreActivationResidual(3, 4, 4)
    nn.init.zeros_(block.conv3.weight)
    nn.init.zeros_(block.conv3.bias)
    x = torch.randn(1, 4, 3, 4, 5)
    assert torch.equal(block(x), x)
    assert not [name for name in block.state_dict() if "skip" in name]


def test_dropout_takes_whole_channels_in_training_only() -> None:
    torch.manual_seed(0)
    module = BiFusion(2, 4, 4, 4, 400, dropout=0.25)
    g, x = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    gone = (module(g, x) == 0).flatten(2)
    assert torch.equal(gone.all(2), gone.any(2))
    assert gone.all(2).float().mean().item() == pytest.approx(0.25, abs=0.05)
    module.eval()
    assert torch.equal(module(g, x), module(g, x))


def test_bad_widths_are_named() -> None:
    with pytest.raises(ValueError, match="reduction is 8"):
        BiFusion(2, 4, 4, 4, 4, reduction=8)
    with pytest.raises(ValueError, match="out_channels is 1"):
        BiFusion(2, 4, 4, 4, 1)
