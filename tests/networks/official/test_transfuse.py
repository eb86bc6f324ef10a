"""The authors' checkpoints of TransFuse.

A state dict in their naming, built from its key patterns, loads strictly.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.official import convert
from gridgate.networks.official.transfuse import rename
from gridgate.networks.transfuse import TransFuse

S: dict[str, Any] = {
    "size": "S",
    "widths": (4, 6, 8),
    "blocks": (3, 1, 2),
    "embed_dim": 12,
    "depth": 2,
    "heads": 3,
}
L: dict[str, Any] = {
    "size": "L",
    "widths": (8, 12, 16),
    "blocks": (1, 2, 1),
    "embed_dim": 8,
    "depth": 1,
    "heads": 2,
}


class Names:
    """Builds a state dict in the authors' naming, a layer at a time."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def add(self, name: str, layer: nn.Module) -> None:
        for key, value in layer.state_dict().items():
            self.found[f"{name}.{key}"] = (
                torch.randn_like(value) if value.dtype.is_floating_point else value
            )

    def conv(self, name: str, into: int, out: int, kernel: int = 1, *, bias: bool = True) -> None:
        self.add(name, nn.Conv2d(into, out, kernel, bias=bias))

    def norm(self, name: str, width: int) -> None:
        self.add(name, nn.BatchNorm2d(width))

    def unit(self, name: str, into: int, out: int, kernel: int = 1, *, bias: bool = True) -> None:
        self.conv(f"{name}.conv", into, out, kernel, bias=bias)
        self.norm(f"{name}.bn", out)

    def pairs(self, name: str, into: int, out: int, first: int, kernel: int = 1) -> None:
        self.conv(f"{name}.{first}", into, out, kernel)
        self.norm(f"{name}.{first + 1}", out)

    def up(self, name: str, deeper: int, skip: int, out: int) -> None:
        self.pairs(f"{name}.conv.double_conv", deeper + skip, out, 0, 3)
        self.pairs(f"{name}.conv.double_conv", out, out, 3, 3)
        self.pairs(f"{name}.conv.identity", deeper + skip, out, 0)
        if skip:
            self.pairs(f"{name}.attn_block.W_g", deeper, out, 0)
            self.pairs(f"{name}.attn_block.W_x", skip, out, 0)
            self.pairs(f"{name}.attn_block.psi", out, 1, 0)

    def fusion(self, name: str, cnn: int, tokens: int, reduction: int) -> None:
        self.conv(f"{name}.fc1", tokens, tokens // reduction)
        self.conv(f"{name}.fc2", tokens // reduction, tokens)
        self.unit(f"{name}.spatial", 2, 1, 7, bias=False)
        self.unit(f"{name}.W_g", cnn, cnn)
        self.unit(f"{name}.W_x", tokens, cnn)
        self.unit(f"{name}.W", cnn, cnn, 3)
        joined = 2 * cnn + tokens
        for number, (into, out, kernel) in enumerate(
            [(joined, cnn // 2, 1), (cnn // 2, cnn // 2, 3)], start=1
        ):
            self.norm(f"{name}.residual.bn{number}", into)
            self.conv(f"{name}.residual.conv{number}.conv", into, out, kernel)
        self.norm(f"{name}.residual.bn3", cnn // 2)
        self.conv(f"{name}.residual.conv3.conv", cnn // 2, cnn)
        self.conv(f"{name}.residual.skip_layer.conv", joined, cnn)

    def resnet(self, widths: tuple[int, ...], blocks: tuple[int, ...], *, bottleneck: bool) -> None:
        ratio = 4 if bottleneck else 1
        before = widths[0] // ratio
        self.conv("resnet.conv1", 3, before, 7, bias=False)
        self.norm("resnet.bn1", before)
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
            for block in range(count):
                name, middle = f"resnet.layer{stage}.{block}", width // ratio
                layers = [(before, middle, 1), (middle, middle, 3), (middle, width, 1)]
                for number, (into, out, kernel) in enumerate(
                    layers if bottleneck else [(before, width, 3), (width, width, 3)], start=1
                ):
                    self.conv(f"{name}.conv{number}", into, out, kernel, bias=False)
                    self.norm(f"{name}.bn{number}", out)
                if block == 0 and (stage > 1 or before != width):
                    self.conv(f"{name}.downsample.0", before, width, bias=False)
                    self.norm(f"{name}.downsample.1", width)
                before = width

    def transformer(self, width: int, depth: int, tokens: int) -> None:
        self.found["transformer.cls_token"] = torch.randn(1, 1, width)
        self.found["transformer.pos_embed"] = torch.randn(1, tokens, width)
        self.add("transformer.patch_embed.proj", nn.Conv2d(3, width, 16))
        for i in range(depth):
            name = f"transformer.blocks.{i}"
            self.add(f"{name}.norm1", nn.LayerNorm(width))
            self.add(f"{name}.attn.qkv", nn.Linear(width, 3 * width))
            self.add(f"{name}.attn.proj", nn.Linear(width, width))
            self.add(f"{name}.norm2", nn.LayerNorm(width))
            self.add(f"{name}.mlp.fc1", nn.Linear(width, 4 * width))
            self.add(f"{name}.mlp.fc2", nn.Linear(4 * width, width))
        self.add("transformer.norm", nn.LayerNorm(width))


def authors(options: Mapping[str, Any], classes: int, tokens: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    names, (w1, w2, w3), dim = Names(), options["widths"], options["embed_dim"]
    names.resnet(options["widths"], options["blocks"], bottleneck=options["size"] == "L")
    names.transformer(dim, options["depth"], tokens)
    names.up("up1", dim, 0, w2)
    names.up("up2", w2, 0, w1)
    names.unit("final_x.0", w3, w1)
    for head, first in (("final_x", 1), ("final_1", 0), ("final_2", 0)):
        names.unit(f"{head}.{first}", w1, w1, 3)
        names.conv(f"{head}.{first + 1}.conv", w1, classes, 3)
    names.fusion("up_c", w3, dim, 4)
    names.fusion("up_c_1_1", w2, w2, 2)
    names.fusion("up_c_2_1", w1, w1, 1)
    names.up("up_c_1_2", w3, w2, w2)
    names.up("up_c_2_2", w2, w1, w1)
    return names.found


@pytest.mark.parametrize("options", [S, L], ids=["S", "L"])
def test_authors_names_load_strictly(options: dict[str, Any]) -> None:
    theirs = authors(options, 2, 6)
    net = TransFuse(2, 3, 2, img_size=(32, 48), **options)
    renamed = rename(theirs, img_size=(32, 48), **options)
    net.load_state_dict(renamed, strict=True)
    assert len(renamed) == len(theirs) == len(net.state_dict())
    del theirs["transformer.cls_token"]  # it plays no part, so a checkpoint without it is whole
    net.load_state_dict(rename(theirs), strict=True)


def test_convert_reads_the_channels_and_tells_what_is_over_and_missing() -> None:
    theirs = authors(S, 2, 6)
    theirs["resnet.fc.weight"] = torch.ones(10, 8)
    del theirs["up_c.fc1.bias"]
    ours, missing, unexpected = convert("transfuse", theirs, spatial_dims=2, img_size=(32, 48), **S)
    assert missing == ["fuse0.squeeze.bias"] and unexpected == ["resnet.fc.weight"]
    assert ours["trunk.conv1.weight"].shape == (4, 3, 7, 7) and ours["head_2.1.weight"].shape == (
        2,
        4,
        3,
        3,
    )


def test_tensors_come_to_the_right_places() -> None:
    """Where shapes are the same, strict loading alone would not see an exchange."""
    theirs = authors(S, 2, 6)
    ours = rename(theirs)
    pairs = {
        "resnet.layer3.1.conv2.weight": "trunk.layer3.1.conv2.weight",
        "transformer.blocks.1.attn.proj.bias": "transformer.blocks.1.attention.proj.bias",
        "transformer.blocks.0.norm2.weight": "transformer.blocks.0.norm2.weight",
        "transformer.pos_embed": "transformer.positions",
        "up2.conv.double_conv.4.running_mean": "up2.block.second.norm.running_mean",
        "up2.conv.identity.1.running_mean": "up2.block.shortcut.norm.running_mean",
        "up_c_2_1.W_g.conv.weight": "fuse2.project_cnn.conv.weight",
        "up_c_2_1.W_x.conv.weight": "fuse2.project_transformer.conv.weight",
        "up_c_2_1.fc1.weight": "fuse2.squeeze.weight",
        "up_c_2_1.fc2.weight": "fuse2.excite.weight",
        "up_c_1_1.residual.bn2.bias": "fuse1.residual.norm2.bias",
        "up_c_1_1.residual.bn3.bias": "fuse1.residual.norm3.bias",
        "up_c_1_2.attn_block.W_x.1.weight": "joint1.gate.project_skip.norm.weight",
        "up_c_2_2.attn_block.psi.0.weight": "joint2.gate.score.conv.weight",
        "final_1.0.conv.weight": "head_1.0.conv.weight",
        "final_2.0.bn.running_var": "head_2.0.norm.running_var",
        "final_1.1.conv.bias": "head_1.1.bias",
        "final_x.2.conv.weight": "head_x.2.weight",
    }
    for theirs_name, ours_name in pairs.items():
        assert ours[ours_name] is theirs[theirs_name], theirs_name


def test_unknown_names_stay() -> None:
    unknown = {
        name: torch.ones(1)
        for name in (
            "head.weight",
            "transformer.head.weight",
            "resnet.layer4.0.bn1.bias",
            "up1.conv.extra.0.weight",
            "up_c.W_y.conv.weight",
        )
    }
    assert rename(unknown) == unknown
