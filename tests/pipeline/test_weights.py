"""Making a plan's network, and starting it from 2D encoders."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.networks import build, build_for_volumes
from gridgate.pipeline.models.build import build_network, head_weights, load_encoders, to_device

SMALL: dict[str, Any] = {
    "img_size": 32,
    "widths": [8, 8, 8],
    "blocks": [1, 1, 1],
    "embed_dim": 12,
    "depth": 1,
    "heads": 2,
}


def encoder_files(folder: Path) -> dict[str, str]:
    """State dicts in torchvision's and timm's naming, made of a 2D network's."""
    flat = build("transfuse", spatial_dims=2, in_channels=3, out_channels=2, **SMALL)
    resnet = {
        name: torch.rand_like(value.float()) for name, value in flat.trunk.state_dict().items()
    }
    torch.save(resnet | {"fc.weight": torch.rand(2, 2)}, folder / "resnet.pth")
    timm = {
        "positions": "pos_embed",
        "patches.weight": "patch_embed.proj.weight",
        "patches.bias": "patch_embed.proj.bias",
    }
    vit = {
        timm.get(n, n).replace(".attention.", ".attn."): torch.rand_like(v)
        for n, v in flat.transformer.state_dict().items()
    }
    torch.save({"model": vit}, folder / "vit.pth")
    return {"resnet": str(folder / "resnet.pth"), "vit": str(folder / "vit.pth")}


def test_2d_encoders_start_a_3d_network(tmp_path: Path) -> None:
    files = encoder_files(tmp_path)
    network = build("transfuse", in_channels=1, out_channels=2, **SMALL)
    head = network.state_dict()["head_2.1.weight"].clone()
    to_device(network, "cpu", encoders=files)
    source = torch.load(files["resnet"], weights_only=True)["conv1.weight"]
    # the mean over the new axis, and R, G and B summed for grey
    torch.testing.assert_close(network.trunk.conv1.weight.sum(4)[:, 0], source.sum(1))
    vit = torch.load(files["vit"], weights_only=True)["model"]
    torch.testing.assert_close(network.transformer.norm.weight, vit["norm.weight"])
    assert torch.equal(head, network.state_dict()["head_2.1.weight"])


def test_2d_encoders_start_a_2d_network_that_takes_slices(tmp_path: Path) -> None:
    files = encoder_files(tmp_path)
    volumes = build_for_volumes("transfuse", spatial_dims=2, in_channels=3, out_channels=2, **SMALL)
    to_device(volumes, "cpu", encoders=files)
    source = torch.load(files["resnet"], weights_only=True)
    torch.testing.assert_close(volumes.state_dict()["trunk.conv1.weight"], source["conv1.weight"])
    with pytest.raises(ConfigError, match="UNet has no resnet"):
        flat = build_for_volumes("unet", spatial_dims=2, out_channels=2, feature_scale=32)
        load_encoders(flat, {"resnet": files["resnet"]})


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    files = encoder_files(tmp_path)
    network = build("transfuse", out_channels=2, **SMALL)
    with pytest.raises(ConfigError, match="'swin' is not one of resnet, vit"):
        load_encoders(network, {"swin": files["vit"]})
    with pytest.raises(ConfigError, match="UNet has no resnet"):
        load_encoders(build("unet", out_channels=2, feature_scale=32), {"resnet": files["resnet"]})
    with pytest.raises(
        CheckpointError, match=r"pretrained_encoders: there is no such file as .*nowhere\.pth"
    ):
        load_encoders(network, {"vit": str(tmp_path / "nowhere.pth")})
    with pytest.raises(CheckpointError, match=r"vit\.pth: .*not in the pretrained weights"):
        load_encoders(network, {"resnet": files["vit"]})


def test_head_weights_are_those_of_networks_with_several_heads() -> None:
    assert head_weights(build("transfuse", out_channels=2, **SMALL)) == [0.5, 0.3, 0.2]
    assert head_weights(build("unet", out_channels=2, feature_scale=32)) is None


@pytest.mark.parametrize("plan", ["uctransnet", {"width": 8}])
def test_a_plan_without_a_name_is_told(plan: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"a mapping with a network's name is wanted, as '\{name: unet"
    ):
        build_network(plan, in_channels=1, out_channels=2)


def test_encoders_that_are_no_mapping_or_beside_a_checkpoint(tmp_path: Path) -> None:
    network = build("transfuse", out_channels=2, **SMALL)
    with pytest.raises(ConfigError, match=r"'\{resnet: FILE, vit: FILE\}' is wanted"):
        load_encoders(network, "resnet.pth")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="give one"):
        to_device(network, "cpu", weights=tmp_path / "model.pt", encoders=encoder_files(tmp_path))


def test_a_checkpoint_of_another_width_is_told_with_both_shapes(tmp_path: Path) -> None:
    torch.save(
        build("unet", out_channels=2, in_channels=3, feature_scale=32).state_dict(),
        tmp_path / "model.pt",
    )
    with pytest.raises(
        CheckpointError, match=r"1 of its tensors.*\(2, 3, 3, 3, 3\) for \(2, 1, 3, 3, 3\)"
    ):
        to_device(
            build("unet", out_channels=2, feature_scale=32), "cpu", weights=tmp_path / "model.pt"
        )
