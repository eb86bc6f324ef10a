"""TransUNet as users run it: the paper's size, windows, training, export, errors.

That it computes what the paper's network computes is held in official/test_transunet.py.
"""

from typing import Any

import pytest
import torch
from torch import nn

from gridgate.networks.transunet import TransUNet

TINY = {
    "img_size": 32,
    "stem_width": 4,
    "groups": 2,
    "units": (1, 2, 1),
    "hidden_size": 12,
    "num_layers": 2,
    "num_heads": 3,
    "mlp_dim": 20,
    "decoder_widths": (10, 8, 6, 4, 4),
}


def tiny(spatial_dims: int = 3, in_channels: int = 1, **options: Any) -> TransUNet:
    torch.manual_seed(0)
    net = TransUNet(spatial_dims, in_channels, 3, **{**TINY, **options}).eval()
    nn.init.normal_(net.positions)
    return net


def test_parameter_count_is_the_papers() -> None:
    """By hand for 224^2 and 9 classes; papers that compare with it print 105.28 M."""
    with torch.device("meta"):
        net = TransUNet(2, 1, 9)

    def bottleneck(inside: int, outside: int, *, projected: bool) -> int:
        middle = outside // 4
        convolutions = inside * middle + 9 * middle**2 + middle * outside
        return (
            convolutions + 2 * (2 * middle + outside) + projected * (inside * outside + 2 * outside)
        )

    resnet = 49 * 3 * 64 + 2 * 64
    for inside, outside, units in ((64, 256, 3), (256, 512, 4), (512, 1024, 9)):
        resnet += bottleneck(inside, outside, projected=True)
        resnet += (units - 1) * bottleneck(outside, outside, projected=False)
    hidden, mlp, tokens = 768, 3072, 14**2
    layer = 4 * (hidden**2 + hidden) + 2 * hidden * mlp + mlp + hidden + 2 * 2 * hidden
    transformer = 1024 * hidden + hidden + tokens * hidden + 12 * layer + 2 * hidden

    def unit(inside: int, outside: int) -> int:
        return 9 * inside * outside + 2 * outside

    decoder = unit(hidden, 512)
    for inside, outside in ((512 + 512, 256), (256 + 256, 128), (128 + 64, 64), (64, 16)):
        decoder += unit(inside, outside) + unit(outside, outside)
    expected = resnet + transformer + decoder + 9 * 16 * 9 + 9
    assert expected == 105_277_081
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_window_is_224_in_2d_and_96_in_3d_unless_given() -> None:
    with torch.device("meta"):
        assert TransUNet(2).positions.shape == (1, 14 * 14, 768)
        assert TransUNet(3).positions.shape == (1, 6**3, 768)
    net = tiny(3, img_size=(32, 16, 48))
    assert net.grid == (2, 1, 3) and net.positions.shape == (1, 6, 12)
    assert net.divisor == (16, 16, 16) and tiny(2).divisor == (16, 16)
    assert net.head_weights == (1.0,)


@pytest.mark.parametrize("size", [(32, 32), (37, 20), (16, 17), (33, 1), (32, 16, 16), (20, 33, 7)])
def test_any_size_is_padded_by_the_border_and_cropped(size: tuple[int, ...]) -> None:
    net = tiny(len(size))
    x = torch.randn(1, 1, *size)
    indices = [torch.arange(-(-voxels // 16) * 16).clamp(max=voxels - 1) for voxels in size]
    padded = x[(..., *torch.meshgrid(*indices, indexing="ij"))]
    with torch.no_grad():
        expected = net(padded)[(..., *(slice(voxels) for voxels in size))]
        assert torch.equal(net(x), expected)
    assert expected.shape == (1, 3, *size)


def test_positions_of_another_window_are_between_those_of_the_trained_one() -> None:
    """2 x 2 tokens to 3 x 2: the first and last row stay, the middle one is their mean."""
    net = tiny(2).double()
    wider = tiny(2, img_size=(48, 32)).double()
    state = net.state_dict()
    first, last = state["positions"].view(2, 2, 12)
    state["positions"] = torch.stack([first, (first + last) / 2, last]).view(1, 6, 12)
    wider.load_state_dict(state)
    x = torch.randn(1, 1, 48, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), wider(x), rtol=1e-9, atol=1e-12)
        nn.init.normal_(net.positions)
        assert (net(x) - wider(x)).abs().max() > 1e-6  # they do count


def test_one_channel_is_given_three_times() -> None:
    gray, colour, four = tiny(2), tiny(2, 3), tiny(2, 4)
    colour.load_state_dict(gray.state_dict())
    x = torch.randn(2, 1, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(gray(x), colour(x.expand(-1, 3, -1, -1)))
        assert four(torch.randn(1, 4, 32, 32)).shape == (1, 3, 32, 32)
    assert four.get_parameter("resnet.stem.conv.weight").shape == (4, 4, 7, 7)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.usefixtures("small_maps_in_float32")
def test_every_parameter_gets_a_gradient_in_bfloat16(spatial_dims: int) -> None:
    net = tiny(spatial_dims).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(torch.randn(2, 1, *(32, 32, 16)[:spatial_dims]))
    assert logits.isfinite().all()
    logits.float().square().mean().backward()
    assert [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ] == []


def test_half_precision_is_near_single() -> None:
    net, x = tiny(2), torch.randn(1, 1, 48, 32)
    with torch.no_grad():
        plain = net(x)
        half = net.half()(x.half())
    assert half.dtype == torch.float16
    assert (half - plain).abs().max() < 0.02 * plain.abs().max()


def test_dropout_is_on_tokens_and_mlps_and_only_in_training() -> None:
    net = tiny(2, dropout_rate=0.3)
    rates = {
        name: module.p for name, module in net.named_modules() if isinstance(module, nn.Dropout)
    }
    assert {name for name, rate in rates.items() if rate} == {
        "dropout",
        "layers.0.mlp.dropout",
        "layers.1.mlp.dropout",
    }
    assert set(rates.values()) <= {0.0, 0.3}
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(x), net(x))
        net.train()
        assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_learns_a_bright_ball(spatial_dims: int) -> None:
    net = tiny(spatial_dims).train()
    generator = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*map(torch.arange, (32, 32, 16)[:spatial_dims]), indexing="ij")
    radius = torch.stack([(axis - 10.0).square() for axis in axes]).sum(0).sqrt()
    label = (radius < 8).long().expand(2, *[-1] * spatial_dims)
    x = label[:, None] + 0.5 * torch.randn(label[:, None].shape, generator=generator)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), label)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_exports_for_any_multiple_of_16() -> None:
    net = tiny(2, units=(1, 1, 1), num_layers=1)
    sizes = {2: 16 * torch.export.Dim("size", min=2, max=32)}
    program = torch.export.export(net, (torch.randn(2, 1, 48, 64),), dynamic_shapes=(sizes,))
    x = torch.randn(2, 1, 80, 64)
    torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spatial_dims": 1}, "2 or 3"),
        ({"img_size": 100}, "3 multiples of 16 voxels, for example 96"),
        ({"img_size": (32, 32)}, "3 multiples of 16"),
        ({"stem_width": 6, "groups": 4}, "6 .* 4 groups"),
        ({"units": (1, 1)}, "three positive numbers"),
        ({"num_heads": 5}, "hidden_size 12 must be a multiple of num_heads 5"),
        ({"num_layers": 0}, "1 or more"),
        ({"decoder_widths": (4, 4, 4, 4)}, "five positive numbers"),
        ({"dropout_rate": 1.0}, "less than 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tiny(**options)


def test_too_small_and_misshapen_inputs_are_named() -> None:
    net = tiny(2)
    with pytest.raises(ValueError, match="single token"):
        net(torch.randn(2, 1, 16, 9))
    with pytest.raises(ValueError, match="1 channel"):
        net(torch.randn(1, 2, 32, 32))
    with pytest.raises(ValueError, match="2 spatial"):
        net(torch.randn(1, 1, 32, 32, 32))
