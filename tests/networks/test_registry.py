"""Networks by name."""

import copy
import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch
from monai.networks import nets
from monai.networks.nets.mednext import create_mednext
from torch import nn

from gridgate.networks import NETWORKS, AttentionUNet, UNet, build, network_options

MONAIS = ("DynUNet", "MedNeXt", "SegResNet", "SwinUNETR", "UNETR", "UNet", "VNet")


def test_builds_by_name_with_options() -> None:
    net = build("attention_unet", out_channels=3, variant="ct_single", feature_scale=32)
    assert isinstance(net, AttentionUNet) and len(net.gate4.gates) == 1
    assert net.eval()(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert isinstance(
        build("unet", spatial_dims=2, in_channels=2, out_channels=2, feature_scale=32), UNet
    )
    tiny = {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 2}
    assert isinstance(build("unetr", out_channels=2, **tiny), nets.UNETR)


def test_unknown_network_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(
        ValueError, match=r"'attention_unet'.*Known: .*attention_unet, .*unet, .*unetr"
    ) as caught:
        build("atention_unet", out_channels=2)
    assert "Did you mean 'attention_unet'" in str(caught.value)
    assert all(name in str(caught.value) for name in NETWORKS)


def test_unknown_option_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(
        ValueError,
        match=r"option of the network 'unet'.*Did you mean 'feature_scale'.*align_corners",
    ):
        build("unet", out_channels=2, feature_scal=4)
    with pytest.raises(ValueError, match="Known"):
        build("unet", out_channels=2, qqqq=4)
    with pytest.raises(ValueError, match="Did you mean 'init_filters'"):
        build("SegResNet", out_channels=2, init_filter=4)


def test_the_papers_and_monais_are_there() -> None:
    papers = "unet attention_unet unetr unet_plus_plus unet_plus unet_e wide_unet uctransnet transfuse transunet"
    assert set(NETWORKS) == {*papers.split(), *MONAIS}


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_network_has_defaults_and_says_what_it_takes(name: str, spatial_dims: int) -> None:
    with torch.device("meta"):
        net = build(name, spatial_dims=spatial_dims, in_channels=2, out_channels=5)
        window = [96 if spatial_dims == 3 else 192] * spatial_dims
        assert len(net.divisor) == spatial_dims
        assert all(isinstance(size, int) and 96 % size == 0 for size in net.divisor)
        with torch.no_grad():
            assert net.eval()(torch.empty(1, 2, *window)).shape == (1, 5, *window)
    assert sum(getattr(net, "head_weights", (1.0,))) == pytest.approx(1)
    assert (
        "spatial_dims" not in network_options(name)
        and inspect.Parameter.empty not in network_options(name).values()
    )


@pytest.mark.parametrize("name", MONAIS)
def test_every_option_of_monais_class_is_handed_on(name: str) -> None:
    theirs = set(inspect.signature(getattr(nets, name).__init__).parameters)
    common = {"self", "spatial_dims", "in_channels", "out_channels"}
    deprecated = {"dropout_prob"} if name == "VNet" else set()
    assert theirs - common - deprecated <= set(network_options(name))


def weights_of(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def test_monais_networks_are_monais() -> None:
    """The same keys and shapes as MONAI's class with what its documentation or paper gives."""
    with torch.device("meta"):
        pairs = {
            "UNet": (nets.UNet(3, 1, 4, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2), {}),
            "DynUNet": (nets.DynUNet(3, 1, 4, [3] * 6, [1, 2, 2, 2, 2, 2], [2] * 5), {}),
            "SegResNet": (nets.SegResNet(3, 16, 1, 4), {}),
            "VNet": (nets.VNet(3, 1, 4), {}),
            "UNETR": (nets.UNETR(1, 4, 96), {}),
        }
        for variant in "SBML":
            pairs[f"MedNeXt {variant}"] = (
                create_mednext(variant, 3, 1, 4, 3),
                {"variant": variant},
            )
        for name, (theirs, options) in pairs.items():
            assert weights_of(build(name.split()[0], out_channels=4, **options)) == weights_of(
                theirs
            ), name


def test_dyn_unet_gives_the_heads_that_monai_stacks() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"kernel_size": (3, 3, 3, 3), "filters": (4, 6, 8, 10)}
    supervised = options | {"deep_supervision": True, "deep_supr_num": 2}
    ours = build("DynUNet", out_channels=3, **supervised)
    theirs = nets.DynUNet(
        3, 1, 3, strides=(1, 2, 2, 2), upsample_kernel_size=(2, 2, 2), **supervised
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert ours.divisor == (8, 8, 8) and ours.head_weights == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    x = torch.randn(1, 1, 16, 16, 16)
    outputs, stacked = ours.train()(x), theirs.train()(x)
    assert [output.shape[2] for output in outputs] == [16, 8, 4]
    for index, output in enumerate(outputs):
        factor = 16 // output.shape[2]
        assert torch.equal(
            stacked[:, index], nn.Upsample(scale_factor=factor, mode="nearest")(output)
        )
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    copied = copy.deepcopy(ours.train())  # as for averaged weights, after a training step
    assert weights_of(copied) == weights_of(ours)


def test_dyn_unet_with_strides_an_axis_says_its_divisor() -> None:
    with torch.device("meta"):
        net = build(
            "DynUNet", out_channels=2, kernel_size=(3, 3, 3), strides=(1, (1, 2, 2), (2, 2, 2))
        )
    assert net.divisor == (2, 4, 4)


def test_med_next_gives_its_heads_as_a_list() -> None:
    torch.manual_seed(0)
    net = build(
        "MedNeXt",
        out_channels=2,
        init_filters=4,
        blocks_down=(1, 1),
        blocks_up=(1, 1),
        deep_supervision=True,
    )
    outputs = net.train()(torch.randn(1, 1, 16, 16, 16))
    assert isinstance(outputs, list) and [output.shape[2] for output in outputs] == [16, 8, 4]
    assert net.divisor == (4, 4, 4) and net.head_weights == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    with pytest.raises(ValueError, match="S, B, M, L"):
        build("MedNeXt", out_channels=2, variant="XL")


def test_unet_has_the_forms_of_two_papers() -> None:
    def count(spatial_dims: int, out_channels: int, **options: Any) -> int:
        with torch.device("meta"):
            net = build("unet", spatial_dims=spatial_dims, out_channels=out_channels, **options)
        return sum(parameter.numel() for parameter in net.parameters())

    assert count(3, 4) == count(3, 4, form="oktay") == 5_888_004
    assert count(2, 1, form="zhou") == 7_759_521
    with pytest.raises(ValueError, match="oktay, zhou"):
        build("unet", out_channels=2, form="ronneberger")
    with pytest.raises(
        ValueError, match=r"feature_scale is no option of the U-Net of form 'zhou'.*dropout"
    ):
        build("unet", out_channels=2, form="zhou", feature_scale=4)


def test_networks_are_imported_when_they_are_asked_for() -> None:
    code = (
        "import sys, gridgate.networks as n; first = 'gridgate.networks.uctransnet' in "
        "sys.modules; "
        "from gridgate.networks import UCTransNet, official; "
        "print(first, n.UCTransNet is UCTransNet, callable(official.convert), 'onnx' in "
        "sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "True", "False"], done.stderr
