"""AttentionUNet as users run it: sizes, options, attention maps, scripting, export, errors."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks import AttentionUNet

VARIANTS = ("ct_multi", "ct_single", "grid_gating")


def tiny(spatial_dims: int = 3, seed: int = 0, **options: Any) -> AttentionUNet:
    torch.manual_seed(seed)
    return AttentionUNet(spatial_dims, 1, 3, **{"feature_scale": 32, **options}).eval()


@pytest.mark.parametrize(
    ("variant", "count"),
    [("ct_multi", 6_473_322), ("ct_single", 6_214_151), ("grid_gating", 2_221_815)],
)
def test_parameter_count_is_the_authors(variant: str, count: int) -> None:
    with torch.device("meta"):
        net = AttentionUNet(3, 1, 4, variant=variant, feature_scale=4)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_every_parameter_gets_a_gradient(variant: str, norm: str) -> None:
    net = tiny(variant=variant, norm=norm).train()
    net(torch.randn(2, 1, 32, 32, 32)).square().mean().backward()
    assert [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ] == []


@pytest.mark.parametrize(
    ("variant", "size"),
    [
        ("ct_multi", (37, 16, 50)),
        ("ct_single", (5, 33, 17)),
        ("grid_gating", (17, 30, 7)),
        ("grid_gating", (40, 9, 1)),
    ],
)
def test_any_size_is_padded_by_the_border_and_cropped(variant: str, size: tuple[int, ...]) -> None:
    net = tiny(variant=variant)
    x = torch.randn(1, 1, *size)
    index = torch.meshgrid(  # the border repeated by hand: indices beyond the last are the last
        *[
            torch.arange(max(-(-s // d) * d, m)).clamp(max=s - 1)
            for s, d, m in zip(
                size, net.divisor, (16, 16, 16 if variant != "grid_gating" else 2), strict=True
            )
        ],
        indexing="ij",
    )
    padded = x[:, :, index[0], index[1], index[2]]
    with torch.no_grad():
        expected = net(padded)[:, :, : size[0], : size[1], : size[2]]
        assert torch.equal(net(x), expected)
        assert {k: v.shape for k, v in net.attend(x)[1].items()} == {
            f"gate{level}": (1, 2 if variant == "ct_multi" else 1, *size) for level in (2, 3, 4)
        }


def test_divisor_is_the_size_taken_without_padding() -> None:
    assert tiny(variant="ct_multi").divisor == (16, 16, 16)
    assert tiny(variant="grid_gating").divisor == (16, 16, 1)
    assert tiny(2, variant="grid_gating").divisor == (16, 16)


@pytest.mark.parametrize("subsample", [1, 4, (2, 2, 1)])
def test_any_subsample_runs_on_the_smallest_input(subsample: Any) -> None:
    net = tiny(subsample=subsample)
    assert net(torch.randn(1, 1, 3, 3, 3)).shape == (1, 3, 3, 3, 3)
    step = (subsample,) * 3 if isinstance(subsample, int) else subsample
    assert net.get_parameter("gate4.gates.0.theta.weight").shape[2:] == step


def test_coefficients_are_what_the_gates_used() -> None:
    net = tiny(variant="ct_multi")
    seen: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: Any, outputs: tuple[Tensor, Tensor]) -> None:
        seen["gate2"] = outputs[1]

    net.gate2.register_forward_hook(keep)
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        logits, coefficients = net.attend(x)
        assert torch.equal(logits, net(x))
    for a in coefficients.values():
        assert a.shape == (2, 2, 32, 32, 32)
        assert a.min() >= 0 and a.max() <= 1 and a.std() > 0
    expected = nn.functional.interpolate(
        seen["gate2"], scale_factor=2, mode="trilinear", align_corners=False
    )
    torch.testing.assert_close(coefficients["gate2"], expected)


@pytest.mark.parametrize(
    "options", [{}, {"variant": "grid_gating"}, {"norm": "instance", "spatial_dims": 2}]
)
def test_scripts_with_forward_and_attend(options: dict[str, Any]) -> None:
    net = tiny(**options)
    x = torch.randn(1, 1, *(37, 32, 32)[: net.spatial_dims])
    scripted = torch.jit.script(net)
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), net(x))
        logits, coefficients = scripted.attend(x)
        torch.testing.assert_close(logits, net(x))
        torch.testing.assert_close(coefficients, net.attend(x)[1])


def test_exports_for_any_multiple_of_16() -> None:
    net = tiny(spatial_dims=2)
    sizes = {2: 16 * torch.export.Dim("size", min=2, max=32)}
    program = torch.export.export(net, (torch.randn(2, 1, 48, 64),), dynamic_shapes=(sizes,))
    x = torch.randn(2, 1, 80, 64)
    torch.testing.assert_close(program.module()(x), net(x))


def test_exports_an_odd_window() -> None:
    net = tiny(variant="ct_single")
    x = torch.randn(1, 1, 30, 32, 32)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))


def test_channels_last_and_half_precision() -> None:
    net = tiny()
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        plain = net(x)
        last = net.to(memory_format=torch.channels_last_3d)(
            x.to(memory_format=torch.channels_last_3d)
        )
        torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)
        half = net.half()(x.half())
    assert half.dtype == torch.float16
    assert (half - plain).abs().max() < 0.02 * plain.abs().max()


def test_initial_weights_are_kaiming_and_near_one() -> None:
    torch.manual_seed(0)
    net = AttentionUNet(feature_scale=8)
    weight = net.get_parameter("down4.second.conv.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.02)
    scales = torch.cat([p for n, p in net.named_parameters() if n.endswith("norm.weight")])
    assert scales.mean().item() == pytest.approx(1, abs=0.005)
    assert scales.std().item() == pytest.approx(0.02, rel=0.15)


def test_filters_replace_the_papers_widths() -> None:
    net = AttentionUNet(filters=(4, 6, 8, 10, 12), variant="ct_single").eval()
    assert net.get_parameter("bottom.second.conv.weight").shape == (12, 12, 3, 3, 3)
    assert net(torch.randn(1, 1, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variant": "ct"}, "ct_multi, ct_single, grid_gating"),
        ({"norm": "layer"}, "batch, instance"),
        ({"gating": "tanh"}, "sigmoid"),
        ({"feature_scale": 100}, "at most 64"),
        ({"feature_scale": 0}, "greater than 0"),
        ({"filters": (1, 2, 3)}, "five positive filters"),
        ({"subsample": (2, 2)}, "one per axis"),
        ({"spatial_dims": 1}, "2 or 3"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tiny(**options)


def test_too_small_and_misshapen_inputs_are_named() -> None:
    net = tiny().train()
    with pytest.raises(ValueError, match="window is too small: batch norm"):
        net(torch.randn(1, 1, 16, 16, 16))
    assert net(torch.randn(2, 1, 16, 16, 16)).shape == (2, 3, 16, 16, 16)
    with pytest.raises(ValueError, match="window is too small: instance norm"):
        tiny(norm="instance")(torch.randn(2, 1, 16, 16, 16))
    with pytest.raises(ValueError, match=r"\(B, C, ...\)"):
        net(torch.randn(1, 32, 32, 32))
    with pytest.raises(ValueError, match="1 channel"):
        net(torch.randn(1, 2, 32, 32, 32))
