"""UNet++ and its family: the papers' sizes, arguments, and what every network keeps."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.unet_plus_plus import UNetPlusPlus
from gridgate.networks.unet_plus_plus_family import unet_e, unet_plus, wide_unet, zhou_unet

FAMILY = (UNetPlusPlus, unet_plus, unet_e, zhou_unet)


@pytest.mark.parametrize(
    ("function", "options", "count"),
    [
        (UNetPlusPlus, {"depth": 1}, 100_961),
        (UNetPlusPlus, {"depth": 2}, 511_105),
        (UNetPlusPlus, {"depth": 3}, 2_204_961),
        (UNetPlusPlus, {"depth": 4}, 9_041_601),
        (UNetPlusPlus, {"deep_supervision": False}, 9_041_601),
        (UNetPlusPlus, {}, 9_041_700),
        (zhou_unet, {}, 7_759_521),
        (wide_unet, {}, 9_282_246),
        (unet_plus, {}, 8_728_356),
        (unet_e, {}, 8_728_356),
        (UNetPlusPlus, {"spatial_dims": 3, "out_channels": 3}, 45_966_784),
    ],
)
def test_parameter_count_is_the_papers(
    function: Callable[..., nn.Module], options: dict[str, Any], count: int
) -> None:
    with torch.device("meta"):
        net = function(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 1, **options})
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_each_setting_of_a_form_can_be_changed_alone() -> None:
    """From the paper's form to the later one, argument by argument.

    What each adds, with filters 2, 3, 4.
    """

    def size(**options: Any) -> int:
        net = UNetPlusPlus(2, 1, 2, filters=(2, 3, 4), **options)
        return sum(parameter.numel() for parameter in net.parameters())

    paper = size()
    # units of levels 0, 1, 2 are 6, 4, 2 (three, two, one node), each with a scale and a shift a
    # channel
    assert size(norm="instance") - paper == 2 * (6 * 2 + 4 * 3 + 2 * 4)
    assert paper - size(head_bias=False) == 2 * 2
    assert paper - size(up_bias=False) == 2 + 2 + 3  # X01, X02, X11
    for option in (
        {"activation": "leaky_relu"},
        {"concat": "up_last"},
        {"down": "stride"},
        {"dropout": 0.0},
    ):
        assert size(**option) == paper
    assert size(form="later") == size(norm="instance", head_bias=False, up_bias=False)


@pytest.mark.parametrize(
    "option", [{"activation": "leaky_relu"}, {"concat": "up_last"}, {"down": "stride"}]
)
def test_settings_without_parameters_change_the_output(option: dict[str, str]) -> None:
    def output(**options: str) -> Tensor:
        torch.manual_seed(0)
        net = UNetPlusPlus(2, 1, 2, filters=(2, 3, 4), **options).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for (
                parameter
            ) in net.parameters():  # the same whatever the option does to the initial weights
                parameter.normal_()
            return net(torch.randn(1, 1, 8, 8))

    assert torch.equal(output(), output())
    assert not torch.allclose(output(**option), output(), rtol=0.01)


@pytest.mark.parametrize("function", FAMILY)
@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("form", ["paper", "later"])
def test_every_parameter_gets_a_gradient(function: Any, deep_supervision: bool, form: str) -> None:
    options = {} if function is zhou_unet else {"deep_supervision": deep_supervision}
    net = function(3, 1, 2, form=form, filters=(2, 3, 4), **options)
    outputs = net(torch.randn(1, 1, 8, 8, 8))
    if function is zhou_unet or not deep_supervision:
        assert (
            isinstance(outputs, Tensor) and net.head_weights == (1.0,) and list(net.heads) == ["2"]
        )
        outputs = [outputs]
    assert len(outputs) == len(net.head_weights) and sum(net.head_weights) == pytest.approx(1)
    assert all(output.shape == (1, 2, 8, 8, 8) for output in outputs)
    sum(output.square().mean() for output in outputs).backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("form", ["paper", "later"])
@pytest.mark.usefixtures("small_maps_in_float32")
def test_bfloat16_is_finite_forward_and_backward(form: str) -> None:
    torch.manual_seed(0)
    net = UNetPlusPlus(3, 1, 2, form=form, filters=(4, 6, 8))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(torch.randn(1, 1, 8, 12, 16))
        loss = sum(output.float().square().mean() for output in outputs)
    loss.backward()
    assert all(output.dtype == torch.bfloat16 and output.isfinite().all() for output in outputs)
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("form", ["paper", "later"])
def test_other_sizes_are_padded_at_their_end_with_the_border(form: str) -> None:
    torch.manual_seed(0)
    net = UNetPlusPlus(3, 2, 3, form=form, filters=(2, 3, 4), dropout=0.0).double().eval()
    assert net.divisor == (4, 4, 4)
    x = torch.randn(1, 2, 13, 8, 10, dtype=torch.float64)
    padded = x[:, :, [*range(13), 12, 12, 12]][..., [*range(10), 9, 9]]
    assert padded.shape == (1, 2, 16, 8, 12)
    with torch.no_grad():
        assert torch.equal(net(x), net(padded)[:, :, :13, :, :10])
        assert net.train()(x)[-1].shape == (1, 3, 13, 8, 10)
    assert UNetPlusPlus(3).divisor == (32, 32, 32) and UNetPlusPlus(2).divisor == (16, 16)


def test_dropout_is_in_training_only_and_after_every_activation() -> None:
    torch.manual_seed(0)
    net = UNetPlusPlus(2, 1, 1, filters=(4, 4))
    x = torch.randn(1, 1, 64, 64)
    kept = []
    for node in [*net.encoder, *net.decoder.values()]:
        for unit in (node.first, node.second):
            unit.register_forward_hook(
                lambda module, args, output: kept.append(
                    (output != 0).sum() / (module.conv(args[0]) > 0).sum()
                )
            )
    net(x)
    assert len(kept) == 6 and all(0.4 < share < 0.6 for share in kept)
    net.eval()
    assert torch.equal(net(x), net(x))
    assert not any(
        isinstance(module, nn.Dropout) for module in UNetPlusPlus(2, 1, 1, form="later").modules()
    )


def test_initial_weights_are_he_normal() -> None:
    torch.manual_seed(0)
    net = zhou_unet(2, 1, 2, filters=(64, 128))
    weight = net.decoder["0_1"].first.conv.weight
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert net.decoder["0_1"].up.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert all(
        parameter.eq(0).all() for name, parameter in net.named_parameters() if name.endswith("bias")
    )


def convolutions(program: torch.export.ExportedProgram) -> int:
    return sum(
        "conv" in str(node.target) for node in program.graph.nodes if node.op == "call_function"
    )


@pytest.mark.parametrize("form", ["paper", "later"])
def test_exports_pruned_without_the_other_nodes(form: str) -> None:
    net = UNetPlusPlus(3, 1, 2, form=form, filters=(2, 3, 4, 5)).eval()
    x = torch.randn(1, 1, 16, 8, 24)
    whole, pruned = (torch.export.export(n, (x,)) for n in (net, net.pruned(1)))
    torch.testing.assert_close(whole.module()(x), net(x))
    torch.testing.assert_close(pruned.module()(x), net.pruned(1)(x))
    # ten nodes of two units, six ups, three heads; pruned: X00, X10, X01, one up, one head
    assert (convolutions(whole), convolutions(pruned)) == (2 * 10 + 6 + 3, 2 * 3 + 1 + 1)
    nodes = {
        match[0] for key in pruned.state_dict if (match := re.match(r"(en|de)coder\.[\d_]+", key))
    }
    assert nodes == {"encoder.0", "encoder.1", "decoder.0_1"}


@pytest.mark.parametrize("form", ["paper", "later"])
def test_onnx_gives_the_same_logits(form: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = UNetPlusPlus(3, 1, 2, form=form, filters=(2, 3, 4)).eval().pruned(2)
    x = torch.randn(1, 1, 16, 8, 12)
    torch.onnx.export(net, (x,), str(tmp_path / "net.onnx"), dynamo=True, verbose=False)
    session = runtime.InferenceSession(
        str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    ours = net(x).detach().numpy()
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max()


def test_scripts() -> None:
    net = UNetPlusPlus(3, 1, 2, filters=(2, 3, 4)).eval()
    scripted = torch.jit.script(net)
    x = torch.randn(1, 1, 16, 9, 12)
    torch.testing.assert_close(scripted(x), net(x))
    for ours, theirs in zip(net.train()(x), scripted.train()(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_family_shows_its_options() -> None:
    """The registry reads them off the signature."""
    whole = set(inspect.signature(UNetPlusPlus).parameters)
    assert (
        set(inspect.signature(unet_plus).parameters)
        == set(inspect.signature(unet_e).parameters)
        == whole - {"wiring"}
    )
    assert set(inspect.signature(zhou_unet).parameters) == whole - {
        "wiring",
        "deep_supervision",
        "inference",
    }
    assert "filters" not in inspect.signature(wide_unet).parameters
    assert wide_unet(2, norm="batch").settings.norm == "batch"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spatial_dims": 4}, "2 or 3"),
        ({"form": "keras"}, "form is 'keras': choose one of paper, later"),
        ({"wiring": "sparse"}, "wiring is 'sparse'"),
        ({"norm": "layer"}, "norm is 'layer': choose one of none, batch, instance"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"concat": "first"}, "concat is 'first'"),
        ({"down": "mean"}, "down is 'mean'"),
        ({"filters": (8,)}, "two or more"),
        ({"filters": (8, 0)}, "positive"),
        ({"dropout": 1.0}, "below 1"),
        ({"depth": 0}, "depth is 0: 3 filters make a network of depth 1 to 2"),
        ({"depth": 3}, "depth is 3"),
        ({"inference": 3}, "inference is 3.*1, 2"),
        ({"inference": 1, "deep_supervision": False}, "a head that is built, 2"),
        ({"inference": "mean"}, "'ensemble'"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        UNetPlusPlus(**{"filters": (4, 4, 4), **options})


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_wrong_inputs_are_named(down: str) -> None:
    net = UNetPlusPlus(3, 1, 2, filters=(2, 3, 4), down=down)
    with pytest.raises(ValueError, match="1 channel"):
        net(torch.zeros(1, 2, 8, 8, 8))
    with pytest.raises(ValueError, match="window is too small: instance norm"):
        net(torch.zeros(1, 1, 4, 4, 4))
    assert len(net(torch.zeros(1, 1, 8, 4, 4))) == 2
    assert (
        len(
            UNetPlusPlus(3, 1, 2, filters=(2, 3, 4), down=down, norm="none")(
                torch.zeros(1, 1, 4, 4, 4)
            )
        )
        == 2
    )
