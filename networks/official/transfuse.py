"""TransFuse's published checkpoints (Zhang et al. 2021, arXiv 2102.08005) under our names."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_UNIT = {"conv": "conv", "bn": "norm"}

_PARTS = {  # the authors' modules -> ours
    "resnet": "trunk",
    "transformer": "transformer",
    "up1": "up1",
    "up2": "up2",
    "up_c": "fuse0",
    "up_c_1_1": "fuse1",
    "up_c_2_1": "fuse2",
    "up_c_1_2": "joint1",
    "up_c_2_2": "joint2",
    "final_x": "head_x",
    "final_1": "head_1",
    "final_2": "head_2",
}

_FUSION = {  # inside a BiFusion
    "W_g.conv": "project_cnn.conv",
    "W_g.bn": "project_cnn.norm",
    "W_x.conv": "project_transformer.conv",
    "W_x.bn": "project_transformer.norm",
    "W.conv": "product.conv",
    "W.bn": "product.norm",
    "spatial.conv": "spatial_conv",
    "spatial.bn": "spatial_norm",
    "fc1": "squeeze",
    "fc2": "excite",
    "residual.bn1": "residual.norm1",
    "residual.bn2": "residual.norm2",
    "residual.bn3": "residual.norm3",
    "residual.conv1.conv": "residual.conv1",
    "residual.conv2.conv": "residual.conv2",
    "residual.conv3.conv": "residual.conv3",
    "residual.skip_layer.conv": "residual.skip",
}

_UP = {  # inside an up-sampling level: its DoubleConv, and the gate on its skip
    "conv.double_conv.0": "block.first.conv",
    "conv.double_conv.1": "block.first.norm",
    "conv.double_conv.3": "block.second.conv",
    "conv.double_conv.4": "block.second.norm",
    "conv.identity.0": "block.shortcut.conv",
    "conv.identity.1": "block.shortcut.norm",
    "attn_block.W_g.0": "gate.project_gating.conv",
    "attn_block.W_g.1": "gate.project_gating.norm",
    "attn_block.W_x.0": "gate.project_skip.conv",
    "attn_block.W_x.1": "gate.project_skip.norm",
    "attn_block.psi.0": "gate.score.conv",
    "attn_block.psi.1": "gate.score.norm",
}


def rename(state_dict: Mapping[str, Tensor], **options: object) -> dict[str, Tensor]:
    """The authors' state dict under TransFuse's names; unknown keys keep theirs.

    Where the class token is missing, zeros stand for it: the network carries it along and never
    uses it.

    Args:
        state_dict: ``resnet.*`` in torchvision's naming, ``transformer.*`` in timm's, ``up*`` and
            ``final_*``.
        options: of the network; they change none of the names.
    """
    renamed = {_ours(key): value for key, value in state_dict.items()}
    if (
        "class_token" not in renamed
        and (positions := renamed.get("transformer.positions")) is not None
    ):
        renamed["class_token"] = torch.zeros_like(positions[:, :1])
    return renamed


def _ours(key: str) -> str:
    part, _, rest = key.partition(".")
    inside, _, last = rest.rpartition(".")  # last: weight, bias, running_mean, ...
    if part not in _PARTS:
        return key
    part, found = _PARTS[part], None
    if part == "trunk":  # MONAI's ResNet has torchvision's names
        return f"trunk.{rest}" if re.match(r"(conv1|bn1|layer[123]\.\d+)\.", rest) else key
    if part == "transformer":
        return _of_transformer(rest) or key
    if part.startswith("fuse"):
        found = _FUSION.get(inside)
    elif part.startswith(("up", "joint")):
        found = _UP.get(inside)
    elif match := re.fullmatch(r"(\d)\.(conv|bn)", inside):
        index, kind = int(match[1]), match[2]
        is_last = index == (2 if part == "head_x" else 1)  # a convolution alone
        found = str(index) if is_last else f"{index}.{_UNIT[kind]}"
    return key if found is None else f"{part}.{found}.{last}"


def _of_transformer(rest: str) -> str | None:
    """Our name of a tensor of timm's ViT, None when it is none of the parts we have."""
    if rest == "cls_token":
        return "class_token"
    if rest == "pos_embed":
        return "transformer.positions"
    if rest.startswith("patch_embed.proj."):
        return rest.replace("patch_embed.proj.", "transformer.patches.")
    if re.fullmatch(r"norm\.\w+", rest):
        return f"transformer.{rest}"
    if re.fullmatch(r"blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias)", rest):
        return f"transformer.{rest.replace('.attn.', '.attention.')}"
    return None
