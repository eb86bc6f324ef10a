"""2D networks on volumes: slice for slice what the 2D network gives.

In every form that a bundle uses.
"""

import copy
import pickle

import pytest
import torch
from torch import nn

from gridgate.networks import SliceBySlice, build, build_for_volumes

from .contract.tiny_networks import CLASSES, TINY, every_network


def flat(options: dict) -> dict:
    """Options of a tiny network, with a window of two axes."""
    return {key: value[:2] if key == "img_size" else value for key, value in options.items()}


def both(name: str) -> tuple[nn.Module, SliceBySlice]:
    torch.manual_seed(0)
    network = build(name, spatial_dims=2, out_channels=CLASSES, **flat(TINY[name].options))
    return network, SliceBySlice(network)


@every_network
def test_each_slice_is_the_2d_networks(name: str) -> None:
    network, volumes = both(name)
    x, y = TINY[name].window[:2]
    assert volumes.divisor == (*network.divisor, 1) and volumes.head_weights == tuple(
        getattr(network, "head_weights", (1.0,))
    )
    image = torch.randn(2, 1, x, y, 3)
    network.eval()
    with torch.no_grad():
        found = volumes(image)
        assert found.shape == (2, CLASSES, x, y, 3)
        for case in range(2):
            for place in range(3):
                wanted = network(image[case : case + 1, ..., place])[0]
                torch.testing.assert_close(found[case, ..., place], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["unet_plus_plus", "transfuse", "DynUNet", "uctransnet"])
def test_training_gives_the_heads_each_at_its_own_resolution(name: str) -> None:
    network, volumes = both(name)
    x, y = TINY[name].window[:2]
    image = torch.randn(2, 1, x, y, 3)
    for module in volumes.modules():  # drawn anew at each call
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    found = volumes.train()(image)
    wanted = network.train()(
        torch.cat([image[..., place] for place in range(3)])
    )  # another order of the same batch
    assert isinstance(found, list) == isinstance(wanted, list)
    pairs = zip(found, wanted, strict=True) if isinstance(found, list) else [(found, wanted)]
    for volume, slices in pairs:
        assert volume.shape == (2, CLASSES, *slices.shape[2:], 3)
        expected = torch.stack(slices.split(2), dim=-1)
        torch.testing.assert_close(volume, expected, rtol=1e-3, atol=1e-4)


def test_its_checkpoints_are_the_2d_networks() -> None:
    network, volumes = both("attention_unet")
    assert volumes.state_dict().keys() == network.state_dict().keys()
    other = both("attention_unet")[1]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    other.load_state_dict(network.state_dict())
    assert all(
        torch.equal(value, network.state_dict()[key]) for key, value in other.state_dict().items()
    )
    # inside another module, as in a moving average or in DistributedDataParallel
    holder = nn.ModuleDict({"module": both("attention_unet")[1]})
    assert set(holder.state_dict()) == {f"module.{key}" for key in network.state_dict()}
    holder.load_state_dict({f"module.{key}": value for key, value in network.state_dict().items()})
    for key, value in holder.state_dict().items():
        assert torch.equal(value, network.state_dict()[key.removeprefix("module.")])
    with pytest.raises(RuntimeError, match="down1"):
        other.load_state_dict(
            {key: value for key, value in network.state_dict().items() if "down1" not in key}
        )


def test_it_goes_to_another_process() -> None:
    volumes = both("attention_unet")[1].eval()
    image = torch.randn(1, 1, 32, 16, 2)
    arrived = pickle.loads(pickle.dumps(volumes))
    with torch.no_grad():
        assert torch.equal(arrived(image), volumes(image)) and torch.equal(
            arrived.attend(image)[0], volumes(image)
        )
    arrived.load_state_dict(volumes.state_dict())


def test_a_copy_has_weights_of_its_own() -> None:
    volumes = both("attention_unet")[1].eval()
    image = torch.randn(1, 1, 32, 16, 2)
    twin = copy.deepcopy(volumes)
    with torch.no_grad():
        before = volumes(image)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(volumes(image), before) and not twin(image).any()
        assert torch.equal(twin.attend(image)[0], twin(image))


def test_attention_of_a_volume() -> None:
    network = build("attention_unet", spatial_dims=2, out_channels=CLASSES, feature_scale=16).eval()
    volumes = SliceBySlice(network)
    image = torch.randn(1, 1, 32, 48, 2)
    with torch.no_grad():
        logits, maps = volumes.attend(image)
        wanted, slices = network.attend(image[..., 1])
    torch.testing.assert_close(logits[..., 1], wanted)
    assert maps.keys() == slices.keys()
    for name in maps:
        torch.testing.assert_close(maps[name][..., 1], slices[name], rtol=1e-4, atol=1e-6)


def test_attention_over_channels_gets_the_slices_as_its_last_axis() -> None:
    network, volumes = both("uctransnet")
    image = torch.randn(2, 1, 32, 16, 3)
    with torch.no_grad():
        maps, slices = volumes.eval().attend(image)[1], network.attend(image[1:, ..., 2])[1]
    assert maps.keys() == slices.keys()
    for name in maps:
        torch.testing.assert_close(maps[name][1:, ..., 2], slices[name], rtol=1e-4, atol=1e-6)
    assert not hasattr(both("transfuse")[1], "attend")


def test_pruned_is_the_pruned_network_slice_by_slice() -> None:
    network, volumes = both("unet_plus_plus")
    image = torch.randn(1, 1, 32, 16, 2)
    with torch.no_grad():
        small = volumes.eval().pruned(1)
        torch.testing.assert_close(small(image)[..., 0], network.eval().pruned(1)(image[..., 0]))
    assert small.divisor == (2, 2, 1) and not hasattr(both("UNet")[1], "pruned")


@pytest.mark.parametrize(
    "name",
    ["attention_unet", "uctransnet"],  # a plain one, and one with positions
)
def test_torchscript_and_torch_export(name: str) -> None:
    volumes = both(name)[1].eval()
    image = torch.randn(1, 1, *TINY[name].window[:2], 2)
    with torch.no_grad():
        wanted = volumes(image)
        torch.testing.assert_close(torch.jit.script(volumes)(image), wanted)
        torch.testing.assert_close(torch.export.export(volumes, (image,)).module()(image), wanted)


def test_built_for_volumes() -> None:
    assert isinstance(
        build_for_volumes("unet", spatial_dims=2, out_channels=2, feature_scale=16), SliceBySlice
    )
    assert not isinstance(build_for_volumes("unet", out_channels=2, feature_scale=16), SliceBySlice)
    with pytest.raises(ValueError, match=r"\(B, C, X, Y, slices\)"):
        both("unet")[1](torch.zeros(1, 1, 16, 16))
