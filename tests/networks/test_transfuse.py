"""TransFuse as users run it: sizes, options, training, dropout, half precision, export, errors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.transfuse import ResNetTrunk, TransFuse

SMALL: dict[str, Any] = {
    "widths": (8, 8, 8),
    "blocks": (1, 1, 1),
    "embed_dim": 8,
    "depth": 1,
    "heads": 2,
}


def tiny(spatial_dims: int = 3, seed: int = 0, **options: Any) -> TransFuse:
    torch.manual_seed(seed)
    return TransFuse(spatial_dims, 1, 2, **{**SMALL, "img_size": 32, **options}).eval()


@pytest.mark.parametrize(
    ("size", "count", "tokens"), [("S", 26_248_725, 384), ("L", 143_540_789, 768)]
)
def test_parameter_count_is_the_authors(size: str, count: int, tokens: int) -> None:
    with torch.device("meta"):
        net = TransFuse(2, 3, 1, size=size)
    assert sum(p.numel() for p in net.parameters()) == count
    assert {name: p.numel() for name, p in net.named_parameters() if not p.requires_grad} == {
        "class_token": tokens
    }
    assert net.transformer.grid == (12, 16)


@pytest.mark.parametrize(("size", "count"), [("S", 21_284_672), ("L", 23_508_032)])
def test_whole_trunk_is_torchvisions_resnet(size: str, count: int) -> None:
    """ResNet-34 has 21,797,672 parameters and ResNet-50 25,557,032.

    Their fc 513,000 and 2,049,000 of them.

    Ours lacks the fourth stage too, counted here by hand.
    """
    if (
        size == "S"
    ):  # three blocks of two 3x3 convolutions to 512 channels, the first from 256 with a shortcut
        fourth = 9 * 256 * 512 + 5 * 9 * 512 * 512 + 256 * 512 + 2 * 512 * 7
    else:  # three bottlenecks of 512, 512 and 2048 channels, the first from 1024 with a shortcut
        fourth = (1024 * 512 + 2 * 2048 * 512) + 3 * (9 * 512 * 512 + 512 * 2048) + 1024 * 2048
        fourth += 2 * (3 * (512 + 512 + 2048) + 2048)
    widths = (64, 128, 256) if size == "S" else (256, 512, 1024)
    with torch.device("meta"):
        trunk = ResNetTrunk(2, 3, widths, (3, 4, 6), bottleneck=size == "L")
    assert sum(p.numel() for p in trunk.parameters()) + fourth == count


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("size", ["S", "L"])
def test_training_gives_three_maps_and_every_parameter_a_gradient(
    spatial_dims: int, size: str
) -> None:
    net = tiny(spatial_dims, size=size).train()
    x = torch.randn(2, 1, *(32, 16, 48)[:spatial_dims])
    maps = net(x)
    assert [m.shape for m in maps] == [(2, 2, *x.shape[2:])] * 3
    assert len(net.head_weights) == 3 and sum(net.head_weights) == pytest.approx(1)
    sum(
        weight * m.square().mean() for weight, m in zip(net.head_weights, maps, strict=True)
    ).backward()
    asked = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    assert [name for name, grad in asked.items() if grad is None or not grad.isfinite().all()] == []
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["class_token"]


def test_evaluation_is_deterministic_and_gives_the_joint_map() -> None:
    net = tiny(2, dropout=0.0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = (
                None  # a plain average over the batches seen: of one, its own statistics
            )
    x = torch.randn(2, 1, 64, 64)
    first = net.train()(x)[0]
    with torch.no_grad():
        evaluated = net.eval()(x)
        assert torch.equal(net(x), evaluated)
    # batch norm in eval divides by the unbiased variance: near, not equal
    assert (evaluated - first).abs().max() < 0.2 * first.abs().max()
    others = net.train()(x)[1:]
    assert all((evaluated - other).abs().max() > 0.2 * first.abs().max() for other in others)


@pytest.mark.parametrize("size", [(37, 16, 50), (5, 33, 17)])
def test_any_size_is_padded_by_the_border_and_cropped(size: tuple[int, ...]) -> None:
    net = tiny()
    assert net.divisor == (16, 16, 16)
    x = torch.randn(1, 1, *size)
    index = torch.meshgrid(
        *[torch.arange(-(-s // 16) * 16).clamp(max=s - 1) for s in size], indexing="ij"
    )
    with torch.no_grad():
        expected = net(x[:, :, index[0], index[1], index[2]])[:, :, : size[0], : size[1], : size[2]]
        assert torch.equal(net(x), expected)
        torch.manual_seed(1)
        maps = net.train()(torch.cat([x, x]))
    assert [m.shape for m in maps] == [(2, 2, *size)] * 3


def test_default_windows() -> None:
    with torch.device("meta"):
        assert TransFuse(3, **SMALL).transformer.grid == (6, 6, 6)
        assert TransFuse(3, img_size=(96, 64, 32), **SMALL).transformer.grid == (6, 4, 2)
        assert TransFuse(2, img_size=64, **SMALL).transformer.grid == (4, 4)


def test_dropout_takes_whole_channels_of_the_six_maps() -> None:
    net = tiny(2, widths=(40, 48, 56), embed_dim=64, dropout=0.2).train()
    seen: list[tuple[int, Tensor]] = []
    net.dropout.register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0].shape[1], output))
    )
    net(torch.randn(20, 1, 32, 32).abs())
    assert [channels for channels, _ in seen] == [
        64,
        48,
        40,
        40,
        48,
        56,
    ]  # t0, t1, t2, then the CNN's
    tokens = (seen[0][1] == 0).flatten(2)  # of the maps only t0 has no zeros of its own
    assert torch.equal(tokens.all(2), tokens.any(2))
    assert tokens.all(2).float().mean().item() == pytest.approx(0.2, abs=0.05)
    assert [fusion.dropout.p for fusion in (net.fuse0, net.fuse1, net.fuse2)] == [0.1] * 3


def test_decoder_starts_kaiming_and_trunk_and_transformer_as_theirs() -> None:
    torch.manual_seed(0)
    net = TransFuse(2, 1, 1, widths=(64, 64, 64), blocks=(1, 1, 1), embed_dim=64, depth=1, heads=2)
    assert net.up2.block.first.conv.weight.std().item() == pytest.approx(
        (2 / (64 * 9)) ** 0.5, rel=0.03
    )
    assert net.fuse1.residual.skip.weight.std().item() == pytest.approx((2 / 192) ** 0.5, rel=0.05)
    assert net.transformer.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_learns() -> None:
    """Thirty steps on cubes in noise, with the weights of the three maps."""
    torch.manual_seed(0)
    net = tiny(widths=(16, 16, 16), embed_dim=16).train()
    labels = torch.zeros(2, 32, 32, 32, dtype=torch.long)
    labels[0, 4:20, 8:24, 8:24] = labels[1, 12:28, 4:20, 10:26] = 1
    x = labels[:, None] + 0.3 * torch.randn(2, 1, 32, 32, 32)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        maps = net(x)
        loss = sum(
            w * nn.functional.cross_entropy(m, labels)
            for w, m in zip(net.head_weights, maps, strict=True)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.usefixtures("small_maps_in_float32")
def test_bfloat16_is_finite_and_near(spatial_dims: int) -> None:
    net = tiny(spatial_dims).train()
    x = torch.randn(2, 1, *(48, 32, 32)[:spatial_dims])
    with torch.autocast("cpu", torch.bfloat16):
        maps = net(x)
    sum(m.float().square().mean() for m in maps).backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in net.parameters() if p.requires_grad
    )
    net.eval()
    with torch.no_grad():
        plain = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(x)
    assert (half.float() - plain).abs().max() < 0.05 * plain.abs().max()


def test_scripts() -> None:
    net = tiny()
    scripted = torch.jit.script(net)
    x = torch.randn(1, 1, 32, 20, 48)
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), net(x))
    assert len(scripted.train()(torch.cat([x, x]))) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": "M"}, "choose one of S, L"),
        ({"spatial_dims": 1}, "2 or 3"),
        ({"img_size": (32, 40, 32)}, "3 multiples of the patch, 16"),
        ({"img_size": (32, 32)}, "3 multiples of the patch, 16"),
        ({"widths": (8, 8)}, "three multiples of 2"),
        ({"size": "L", "widths": (8, 10, 16)}, "three multiples of 4"),
        ({"blocks": (1, 0, 1)}, "three numbers of 1 or more"),
        ({"heads": 3}, "multiple of its heads"),
        ({"depth": -1}, "a block or more"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tiny(**options)


def test_too_small_and_misshapen_inputs_are_named() -> None:
    net = tiny().train()
    with pytest.raises(ValueError, match="window is too small: batch norm"):
        net(torch.randn(1, 1, 16, 16, 16))
    assert net(torch.randn(2, 1, 16, 16, 16))[0].shape == (2, 2, 16, 16, 16)
    with pytest.raises(ValueError, match="1 channel"):
        net(torch.randn(1, 2, 32, 32, 32))
