"""MONAI's networks under this room's contract: MONAI's own parameters, options and outputs."""

import copy
import inspect
from typing import Any

import pytest
import torch
from monai.networks import nets
from monai.networks.nets.mednext import create_mednext
from torch import nn

from gridgate.networks import build, network_options

MONAIS = ("DynUNet", "MedNeXt", "SegResNet", "SwinUNETR", "UNETR", "UNet", "VNet")


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
