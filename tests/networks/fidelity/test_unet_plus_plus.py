"""UNet++ and its family written a second time, from the facts in NETWORKS.md.

It is held against ours.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gridgate.networks.unet_plus_plus import UNetPlusPlus
from gridgate.networks.unet_plus_plus_family import zhou_unet

WIRINGS = ("dense", "previous", "encoder")
SETTINGS = {
    "paper": {"norm": "none", "activation": "relu", "concat": "up_first", "down": "pool"},
    "later": {
        "norm": "instance",
        "activation": "leaky_relu",
        "concat": "up_last",
        "down": "stride",
    },
}


class Reference:
    """The network with these weights, as one recursion.

    Nothing of gridgate but the names of the weights.
    """

    def __init__(self, weights: dict[str, Tensor], wiring: str, settings: dict[str, str]) -> None:
        self.weights, self.wiring, self.settings = weights, wiring, settings

    def conv(self, x: Tensor, name: str, stride: int = 1, pad: int = 0) -> Tensor:
        function = functional.conv3d if x.dim() == 5 else functional.conv2d
        return function(
            x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), stride, pad
        )

    def unit(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        x = self.conv(x, f"{name}.conv", stride, 1)
        if self.settings["norm"] == "instance":
            axes, shape = tuple(range(2, x.dim())), (1, -1) + (1,) * (x.dim() - 2)
            x = (x - x.mean(axes, keepdim=True)) / (
                x.var(axes, unbiased=False, keepdim=True) + 1e-5
            ).sqrt()
            x = x * self.weights[f"{name}.norm.weight"].view(shape) + self.weights[
                f"{name}.norm.bias"
            ].view(shape)
        return torch.where(
            x > 0, x, (0.01 if self.settings["activation"] == "leaky_relu" else 0.0) * x
        )

    def up(self, x: Tensor, name: str) -> Tensor:
        """Each voxel becomes a cube of two.

        As many products as voxels of the kernel, put side by side.
        """
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        letters = "xyz"[: x.dim() - 2]
        blocks = torch.einsum(
            f"bi{letters},io{letters.upper()}->bo{letters}{letters.upper()}", x, weight
        )
        pairs = [axis + n for n in range(len(letters)) for axis in (2, 2 + len(letters))]
        out = blocks.permute(0, 1, *pairs).reshape(
            x.shape[0], -1, *(2 * size for size in x.shape[2:])
        )
        return out if bias is None else out + bias.view(1, -1, *(1,) * len(letters))

    def node(self, i: int, j: int) -> Tensor:
        if (i, j) not in self.nodes:
            if j == 0:
                name, x, stride = f"encoder.{i}", self.x, 1
                if i > 0:
                    x = self.node(i - 1, 0)
                    if self.settings["down"] == "stride":
                        stride = 2
                    else:
                        for axis in range(2, x.dim()):
                            x = x.unflatten(axis, (-1, 2)).amax(axis + 1)
            else:
                name, stride = f"decoder.{i}_{j}", 1
                columns = {"dense": range(j), "previous": [j - 1], "encoder": [0]}[self.wiring]
                same = [self.node(i, column) for column in columns]
                up = self.up(self.node(i + 1, j - 1), f"{name}.up")
                x = torch.cat(
                    [*same, up] if self.settings["concat"] == "up_last" else [up, *same], dim=1
                )
            self.nodes[i, j] = self.unit(self.unit(x, f"{name}.first", stride), f"{name}.second")
        return self.nodes[i, j]

    def __call__(self, x: Tensor, depths: list[int]) -> list[Tensor]:
        """Logits of the heads of X^{0,d} for each d."""
        self.x = x
        self.nodes: dict[tuple[int, int], Tensor] = {}
        return [self.conv(self.node(0, d), f"heads.{d}") for d in depths]


def stirred(spatial_dims: int, **options: Any) -> UNetPlusPlus:
    """In double precision and eval mode, no parameter left at 0 or 1.

    Such values could hide a mistake.
    """
    torch.manual_seed(0)
    net = UNetPlusPlus(spatial_dims, 2, 3, **options).double()
    for parameter in net.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return net.eval()


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("form", ["paper", "later"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_agrees_with_an_independent_writing(wiring: str, form: str, spatial_dims: int) -> None:
    net = stirred(spatial_dims, wiring=wiring, form=form, filters=(2, 3, 4, 5), dropout=0.0)
    x = torch.randn(2, 2, *(16, 24, 8)[:spatial_dims], dtype=torch.float64)
    weights = {**net.state_dict(), **dict(net.named_parameters())}
    heads = Reference(weights, wiring, SETTINGS[form])(x, [3, 2, 1])

    ensemble = (heads[0] + heads[1] + heads[2]) / 3
    assert (net(x) - ensemble).abs().max() <= 1e-9 * ensemble.abs().max()
    outputs = net.train()(x)
    assert len(outputs) == 3
    for ours, theirs in zip(outputs, heads, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()

    # as training sees it: the weighted sum of a loss of each head
    loss = sum(w * y.square().mean() for w, y in zip(net.head_weights, outputs, strict=True))
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    expected = torch.autograd.grad(
        sum(y.square().mean() for y in heads) / 3, list(net.parameters())
    )
    largest = max(g.abs().max() for g in expected)
    for (name, _), a, b in zip(net.named_parameters(), gradients, expected, strict=True):
        assert (a - b).abs().max() <= 1e-9 * largest, name


@pytest.mark.parametrize("option", SETTINGS["paper"])
@pytest.mark.parametrize("form", ["paper", "later"])
def test_agrees_with_one_setting_of_the_other_form(option: str, form: str) -> None:
    changed = {option: SETTINGS["later" if form == "paper" else "paper"][option]}
    net = stirred(2, form=form, filters=(2, 3, 4), dropout=0.0, **changed)
    x = torch.randn(2, 2, 8, 12, dtype=torch.float64)
    with torch.no_grad():
        theirs = Reference(net.state_dict(), "dense", {**SETTINGS[form], **changed})(x, [2, 1])
        for a, b in zip(net.train()(x), theirs, strict=True):
            assert (a - b).abs().max() <= 1e-9 * b.abs().max()


def test_plain_unet_is_a_unet() -> None:
    """Four poolings, four steps up with one skip each; nothing else is built."""
    torch.manual_seed(0)
    net = zhou_unet(2, 2, 3, filters=(2, 3, 4, 5, 6)).double().eval()
    assert len(net.encoder) == 5 and list(net.decoder) == ["3_1", "2_2", "1_3", "0_4"]
    reference = Reference(net.state_dict(), "encoder", SETTINGS["paper"])
    x = torch.randn(1, 2, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference(x, [4])[0], rtol=1e-9, atol=1e-12)
        assert isinstance(net.train()(x), Tensor)
    assert net.head_weights == (1.0,)
