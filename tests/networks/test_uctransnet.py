"""UCTransNet as users run it.

The paper's size, windows, attention maps, precision, export, errors.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gridgate.networks.uctransnet import UCTransNet

SIZES = {2: (32, 48), 3: (16, 48, 32)}


def tiny(spatial_dims: int = 3, seed: int = 0, **options: Any) -> UCTransNet:
    """In eval mode, with position embeddings that are not zero."""
    torch.manual_seed(seed)
    options = {"img_size": SIZES[spatial_dims], "width": 2, "layers": 2, "heads": 2, **options}
    net = UCTransNet(spatial_dims, 1, 3, **options)
    for name, parameter in net.named_parameters():
        if name.endswith(".position"):
            nn.init.normal_(parameter)
    return net.eval()


def linear_weights(old: int, new: int) -> np.ndarray:
    """(new, old): linear interpolation between cell centres.

    The border held beyond the outer ones.
    """
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))


def test_parameter_count_and_operations_are_the_papers() -> None:
    with torch.device("meta"):
        net = UCTransNet(2, 3, 1).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 224, 224))
    assert sum(parameter.numel() for parameter in net.parameters()) == 66_430_657
    in_attention = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    assert (
        in_attention == 4 * 4 * 2 * 2 * 196 * 960 * 960
    )  # layers, heads, two products, of 2 x MAC
    assert round(counter.get_total_flops() / 1e9, 1) == 77.2
    assert round((counter.get_total_flops() - in_attention) / 1e9, 1) == 65.6


@pytest.mark.parametrize(("spatial_dims", "tokens"), [(2, 14 * 14), (3, 6 * 6 * 6)])
def test_parameter_count_is_the_sum_of_its_parts(spatial_dims: int, tokens: int) -> None:
    with torch.device("meta"):
        net = UCTransNet(spatial_dims, 1, 2)
    kernel, together = 3**spatial_dims, 960

    def unit(inside: int, outside: int, size: int) -> int:
        return inside * outside * size + 3 * outside

    def two(inside: int, outside: int) -> int:
        return unit(inside, outside, kernel) + unit(outside, outside, kernel)

    count = unit(1, 64, kernel) + two(64, 128) + two(128, 256) + two(256, 512) + two(512, 512)
    count += two(1024, 256) + two(512, 128) + two(256, 64) + two(128, 64) + 2 * 64 + 2
    for channels, patch in ((64, 16), (128, 8), (256, 4), (512, 2)):
        count += (
            channels * channels * patch**spatial_dims + channels + tokens * channels
        )  # embedding
        count += 4 * (
            4 * channels**2 + channels**2 + 4 * channels + 8 * channels**2 + 5 * channels
        )  # its layers
        count += 2 * channels + unit(channels, channels, 1)  # reconstruction
        count += 2 * (channels * channels + channels)  # CCA
    count += 4 * (2 * together + 2 * 4 * together**2)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.usefixtures("small_maps_in_float32")
def test_every_parameter_gets_a_finite_gradient(
    spatial_dims: int, norm: str, autocast: bool
) -> None:
    net = tiny(spatial_dims, norm=norm).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = net(torch.randn(1, 1, *SIZES[spatial_dims]))
    assert logits.isfinite().all()
    logits.float().square().mean().backward()
    assert [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ] == []


@pytest.mark.parametrize("precision", ["autocast", "bfloat16", "float16"])
def test_half_precision_is_near_single(precision: str) -> None:
    net = tiny(width=4)
    x = torch.randn(2, 1, *SIZES[3])
    with torch.no_grad():
        for _ in range(3):
            net.train()(x)  # so that batch norm's statistics are those of features
        plain = net.eval()(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            dtype = torch.float32 if precision == "autocast" else getattr(torch, precision)
            half, maps = net.to(dtype).attend(x.to(dtype))
    assert half.dtype == (torch.float16 if precision == "float16" else torch.bfloat16)
    assert {values.dtype for values in maps.values()} == {torch.float32}
    # over all voxels: single ones differ by 5 % on CPUs that multiply bfloat16 in tiles (AMX)
    assert (half - plain).square().mean().sqrt() < 0.03 * plain.square().mean().sqrt()


def test_loss_falls_in_30_steps() -> None:
    net = tiny(3, img_size=(32, 32, 16), layers=1).train()
    grid = torch.stack(
        torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (32, 32, 16)], indexing="ij")
    )
    label = (grid.norm(dim=0) < 0.9).long() + (
        grid.norm(dim=0) < 0.6
    ).long()  # a ball within a ball, in noise
    x = label[None, None] + torch.randn(1, 1, 32, 32, 16) / 2
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), label[None])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    share = label.flatten().bincount() / label.numel()
    entropy = -(share * share.log()).sum().item()  # the loss of who knows the labels' shares only
    assert losses[-1] < 0.5 * entropy < losses[0]


@pytest.mark.parametrize("size", [(33, 20), (16, 32, 41), (32, 16, 48)])
def test_any_size_is_padded_by_the_border_and_cropped(size: tuple[int, ...]) -> None:
    net = tiny(len(size))
    x = torch.randn(2, 1, *size)
    index = [torch.arange(-(-s // 16) * 16).clamp(max=s - 1) for s in size]
    padded = x[(..., *torch.meshgrid(*index, indexing="ij"))]
    with torch.no_grad():
        expected = net(padded)[(..., *[slice(s) for s in size])]
        assert net(x).shape == (2, 3, *size)
        assert torch.equal(net(x), expected)
        assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("trained", "window"), [((32, 48), (64, 48)), ((16, 48, 32), (32, 32, 48))]
)
def test_another_window_is_the_network_made_for_it_with_positions_interpolated(
    trained: tuple[int, ...], window: tuple[int, ...]
) -> None:
    net, other = (tiny(len(window), img_size=size).double() for size in (trained, window))
    state = net.state_dict()
    for key in [key for key in state if key.endswith(".position")]:
        values = state[key].numpy()
        for axis, (a, b) in enumerate(zip(trained, window, strict=True)):
            weights = linear_weights(a // 16, b // 16)
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis + 2)), 0, axis + 2)
        state[key] = torch.from_numpy(values)
    other.load_state_dict(state)
    x = torch.randn(1, 1, *window, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), other(x), rtol=1e-10, atol=1e-12)


def test_grid_patch_and_divisor() -> None:
    assert (tiny().divisor, tiny(2).divisor) == ((16, 16, 16), (16, 16))
    net = tiny(img_size=(50, 32, 96), patch_size=(16, 8, 24))
    assert net.divisor == (16, 16, 48)
    scales = [net.get_parameter(f"transformer.embeddings.{i}.position").shape for i in range(4)]
    assert scales == [(1, channels, 4, 4, 4) for channels in (2, 4, 8, 16)]
    patches = [
        net.get_parameter(f"transformer.embeddings.{i}.patch.weight").shape[2:] for i in range(4)
    ]
    assert patches == [(16, 8, 24), (8, 4, 12), (4, 2, 6), (2, 1, 3)]
    assert net(torch.randn(1, 1, 17, 16, 48)).shape == (1, 3, 17, 16, 48)


def test_attention_maps_are_named_and_have_rows_that_sum_to_one() -> None:
    net = tiny(heads=3)
    x = torch.randn(2, 1, *SIZES[3])
    with torch.no_grad():
        logits, maps = net.attend(x)
        assert torch.equal(logits, net(x))
    expected = {
        f"layer{layer}.scale{i}": (2, 3, 2**i, 30) for layer in (1, 2) for i in (1, 2, 3, 4)
    }
    assert {name: tuple(values.shape) for name, values in maps.items()} == expected
    for values in maps.values():
        torch.testing.assert_close(values.sum(dim=3), torch.ones(values.shape[:3]))
        assert values.min() > 0 and values.std(dim=3).min() > 0


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_scripts_with_forward_and_attend(spatial_dims: int) -> None:
    net = tiny(spatial_dims, layers=1)
    scripted = torch.jit.script(net)
    for size in (SIZES[spatial_dims], (40, 16, 64)[:spatial_dims]):
        x = torch.randn(1, 1, *size)
        with torch.no_grad():
            torch.testing.assert_close(scripted(x), net(x))
            torch.testing.assert_close(scripted.attend(x), net.attend(x))


def test_exports_for_any_multiple_of_16() -> None:
    net = tiny(2, layers=1)
    x, larger = torch.randn(2, 1, *SIZES[2]), torch.randn(3, 1, 64, 80)
    sizes = {0: torch.export.Dim("batch", max=64)}
    sizes |= {2: 16 * torch.export.Dim("x", max=32), 3: 16 * torch.export.Dim("y", max=32)}
    program = torch.export.export(net, (x,), dynamic_shapes=(sizes,)).module()
    torch.testing.assert_close(program(x), net(x))
    torch.testing.assert_close(program(larger), net(larger))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spatial_dims": 1}, "2 or 3"),
        ({"img_size": (32, 32)}, "img_size is .* one per axis"),
        ({"img_size": 0}, "img_size is 0"),
        ({"patch_size": 12}, "patch_size is 12: .* multiple of 8"),
        ({"width": 0}, "width is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"heads": 0}, "heads is 0"),
        ({"expansion": 0}, "expansion is 0"),
        ({"embedding_dropout": 1.0}, "embedding_dropout is 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout is -0.1"),
        ({"norm": "layer"}, "batch, instance"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        UCTransNet(**{"width": 1, "img_size": 16, "layers": 1, **options})


def test_too_small_and_misshapen_inputs_are_named() -> None:
    net = tiny().train()
    with pytest.raises(ValueError, match="window is too small: batch norm"):
        net(torch.randn(1, 1, 16, 16, 16))
    assert net(torch.randn(2, 1, 16, 16, 16)).shape == (2, 3, 16, 16, 16)
    with pytest.raises(ValueError, match=r"\(B, C, ...\)"):
        net(torch.randn(1, 32, 32, 32))
    with pytest.raises(ValueError, match="1 channel"):
        net(torch.randn(1, 2, 32, 32, 32))
