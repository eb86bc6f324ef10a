"""Pretrained 2D weights: what they give in 2D and 3D networks.

What is said about the rest of the file.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.layers.vision_transformer import VisionTransformer
from gridgate.networks.pretrained import (
    adapt_channels,
    inflate,
    load_resnet,
    load_vit,
    read_state_dict,
)
from gridgate.networks.transfuse import ResNetTrunk, TransFuse


def torchvision_names(
    widths: tuple[int, ...], blocks: tuple[int, ...], *, bottleneck: bool
) -> dict[str, Tensor]:
    """A random state dict of torchvision's ResNet, four stages and classifier.

    Written from its naming.
    """
    torch.manual_seed(1)
    found: dict[str, Tensor] = {}

    def conv(name: str, into: int, out: int, kernel: int) -> None:
        found[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) / (into * kernel**2) ** 0.5

    def norm(name: str, width: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = torch.randn(width), torch.randn(width)
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = (
            torch.randn(width),
            torch.rand(width) + 0.5,
        )

    ratio = 4 if bottleneck else 1
    conv("conv1", 3, widths[0] // ratio, 7)
    norm("bn1", widths[0] // ratio)
    before = widths[0] // ratio
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        middle = width // ratio
        for block in range(count):
            name = f"layer{stage}.{block}"
            if bottleneck:
                sizes = [(before, middle, 1), (middle, middle, 3), (middle, width, 1)]
            else:
                sizes = [(before, width, 3), (width, width, 3)]
            for number, (into, out, kernel) in enumerate(sizes, start=1):
                conv(f"{name}.conv{number}", into, out, kernel)
                norm(f"{name}.bn{number}", out)
            if block == 0 and (stage > 1 or before != width):
                conv(f"{name}.downsample.0", before, width, 1)
                norm(f"{name}.downsample.1", width)
            before = width
    found["fc.weight"], found["fc.bias"] = torch.randn(10, before), torch.randn(10)
    return found


def timm_names(
    width: int, depth: int, tokens: int, *, distilled: bool = False
) -> dict[str, Tensor]:
    """A random state dict of timm's DeiT, written from its naming."""
    torch.manual_seed(2)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, tokens, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (1000, width),
        "head.bias": (1000,),
    }
    if distilled:
        shapes["dist_token"] = (1, 1, width)
    for i in range(depth):
        for part, out, into in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes[f"blocks.{i}.{part}.weight"], shapes[f"blocks.{i}.{part}.bias"] = (
                (out, into),
                (out,),
            )
        for norm in ("norm1", "norm2"):
            shapes[f"blocks.{i}.{norm}.weight"] = shapes[f"blocks.{i}.{norm}.bias"] = (width,)
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("bottleneck", [False, True])
def test_resnet_goes_into_the_two_dimensional_trunk_as_it_is(bottleneck: bool) -> None:
    weights = torchvision_names((8, 12, 16, 20), (2, 1, 1, 1), bottleneck=bottleneck)
    trunk = ResNetTrunk(2, 3, (8, 12, 16), (2, 1, 1), bottleneck=bottleneck)
    loaded, dropped = load_resnet(trunk, weights)
    own = {
        name: value
        for name, value in trunk.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert sorted(loaded) == sorted(own)
    assert all(torch.equal(value, weights[name]) for name, value in own.items())
    assert sorted(dropped) == sorted(
        name for name in weights if name.startswith(("layer4.", "fc."))
    )


@pytest.mark.parametrize("bottleneck", [False, True])
def test_inflated_trunk_on_a_constant_third_axis_is_the_two_dimensional_one(
    bottleneck: bool,
) -> None:
    """Away from the third axis's ends, where zero padding shows.

    49 voxels of the deepest map's field of view.
    """
    weights = torchvision_names((8, 8, 8, 8), (1, 1, 1, 1), bottleneck=bottleneck)
    weights = {name: value.double() for name, value in weights.items()}
    flat = ResNetTrunk(2, 3, (8, 8, 8), (1, 1, 1), bottleneck=bottleneck).double().eval()
    deep = ResNetTrunk(3, 3, (8, 8, 8), (1, 1, 1), bottleneck=bottleneck).double().eval()
    load_resnet(flat, weights)
    load_resnet(deep, weights)
    x = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = flat(x)
        found = deep(x[..., None].expand(-1, -1, -1, -1, 160))
    assert found.shape == (1, 8, 2, 3, 10)
    for slab in (4, 5):
        torch.testing.assert_close(found[..., slab], expected, rtol=1e-9, atol=1e-9)
    assert (found[..., 0] - expected).abs().max() > 1e-3  # at the border they do differ


@pytest.mark.parametrize(("tokens", "distilled"), [(4, False), (5, False), (6, True)])
def test_vit_loses_its_other_tokens_and_keeps_positions(tokens: int, distilled: bool) -> None:
    weights = timm_names(8, 3, tokens, distilled=distilled)
    net = VisionTransformer(2, 3, (32, 32), width=8, depth=2, heads=2)
    loaded, dropped = load_vit(net, weights)
    assert sorted(loaded) == sorted(net.state_dict())
    assert torch.equal(net.positions, weights["pos_embed"][:, tokens - 4 :])
    assert torch.equal(net.blocks[1].attention.qkv.weight, weights["blocks.1.attn.qkv.weight"])
    assert torch.equal(net.patches.weight, weights["patch_embed.proj.weight"])
    third = [name for name in weights if name.startswith("blocks.2.")]
    others = ["cls_token", "head.weight", "head.bias"] + ["dist_token"] * distilled
    assert sorted(dropped) == sorted(third + others)


def test_vit_positions_are_interpolated_to_the_networks_grid() -> None:
    """Rows 0 and 3 of a 2x2 grid, corners aligned: 0, 1, 2, 3 over four tokens."""
    weights = timm_names(4, 1, 5)
    weights["pos_embed"] = torch.tensor([99.0, 0, 0, 3, 3]).reshape(1, 5, 1).expand(1, 5, 4)
    net = VisionTransformer(2, 3, (64, 48), width=4, depth=1, heads=1)
    load_vit(net, weights)
    expected = torch.arange(4.0)[:, None].expand(4, 3).flatten()
    torch.testing.assert_close(net.positions[0, :, 2], expected)


def test_vit_takes_a_grid_that_is_not_square() -> None:
    weights = timm_names(4, 1, 6)
    net = VisionTransformer(2, 3, (32, 48), width=4, depth=1, heads=1)
    with pytest.raises(ValueError, match=r"6 position embeddings.*give the file's grid"):
        load_vit(net, weights)
    load_vit(net, weights, grid=(2, 3))
    assert torch.equal(net.positions, weights["pos_embed"])


def test_inflated_vit_on_a_constant_third_axis_is_the_two_dimensional_one() -> None:
    """Everywhere: softmax over each token repeated is the same mean."""
    weights = {name: value.double() for name, value in timm_names(8, 2, 17).items()}
    flat = VisionTransformer(2, 3, (32, 48), width=8, depth=2, heads=2).double().eval()
    deep = VisionTransformer(3, 3, (32, 48, 64), width=8, depth=2, heads=2).double().eval()
    load_vit(flat, weights)
    load_vit(deep, weights)
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = flat(x)[..., None].expand(-1, -1, -1, -1, 4)
        torch.testing.assert_close(
            deep(x[..., None].expand(-1, -1, -1, -1, 64)), expected, rtol=1e-9, atol=1e-9
        )


def test_inflation_by_hand() -> None:
    kernel = torch.tensor([[3.0, 6.0, 9.0]]).reshape(1, 1, 1, 3)
    assert inflate(kernel, 3).tolist() == [[[[[1.0] * 3, [2.0] * 3, [3.0] * 3]]]]
    assert torch.equal(inflate(kernel, 1), kernel[..., None])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_grey_image_gives_what_it_gave_as_rgb(channels: int) -> None:
    torch.manual_seed(0)
    kernel, grey = torch.randn(5, 3, 3, 3), torch.randn(1, 1, 6, 6)
    expected = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), kernel)
    found = nn.functional.conv2d(
        grey.expand(-1, channels, -1, -1), adapt_channels(kernel, channels)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    if channels == 3:
        assert adapt_channels(kernel, channels) is kernel


def test_both_branches_of_a_three_dimensional_transfuse_on_ct(tmp_path: Path) -> None:
    """From files: a plain one, and one as DeiT's are, under "model"."""
    options = {"widths": (8, 12, 16), "blocks": (1, 1, 1), "embed_dim": 8, "depth": 1, "heads": 2}
    net = TransFuse(3, 1, 2, img_size=(32, 32, 48), **options).eval()
    resnet, vit = (
        torchvision_names((8, 12, 16, 20), (1, 1, 1, 1), bottleneck=False),
        timm_names(8, 2, 197),
    )
    torch.save(resnet, tmp_path / "resnet.pth")
    torch.save({"model": vit}, tmp_path / "deit.pth")
    assert "layer4.0.conv1.weight" in load_resnet(net.trunk, tmp_path / "resnet.pth").dropped
    assert "cls_token" in load_vit(net.transformer, str(tmp_path / "deit.pth")).dropped
    assert net.trunk.conv1.weight.shape == (8, 1, 7, 7, 7)
    expected = resnet["conv1.weight"].sum(1)
    torch.testing.assert_close(net.trunk.conv1.weight[:, 0].sum(-1), expected, rtol=1e-4, atol=1e-6)
    patch = vit["patch_embed.proj.weight"].sum(1)
    torch.testing.assert_close(
        net.transformer.patches.weight[:, 0].sum(-1), patch, rtol=1e-4, atol=1e-5
    )
    assert net(torch.randn(1, 1, 32, 32, 48)).isfinite().all()


def test_state_dicts_are_unpacked() -> None:
    weight = torch.ones(1)
    assert read_state_dict({"state_dict": {"module.fc.weight": weight}, "epoch": 3}) == {
        "fc.weight": weight
    }
    with pytest.raises(ValueError, match="no state dict"):
        read_state_dict({"epoch": 3})  # type: ignore[dict-item]


def test_another_network_is_refused_and_nothing_changed() -> None:
    torch.manual_seed(0)
    trunk = ResNetTrunk(2, 3, (8, 12, 16), (1, 1, 1), bottleneck=False)
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    with pytest.raises(ValueError, match=r"shape \[16, 3, 7, 7\].*conv1.weight \[8, 3, 7, 7\]"):
        load_resnet(trunk, torchvision_names((16, 12, 16, 20), (1, 1, 1, 1), bottleneck=False))
    weights = torchvision_names((8, 12, 16, 20), (1, 1, 1, 1), bottleneck=False)
    del weights["layer2.0.bn1.running_mean"]
    with pytest.raises(
        ValueError, match=r"1 tensors of the network are not.*layer2.0.bn1.running_mean"
    ):
        load_resnet(trunk, weights)
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    with pytest.raises(ValueError, match=r"example patch_embed.proj.weight|example pos_embed"):
        load_vit(VisionTransformer(2, 3, (32, 32), width=8, depth=1, heads=2), weights)
