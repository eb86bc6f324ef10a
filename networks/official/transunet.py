"""TransUNet: the keys of the authors' release, in ours."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_OF_UNIT = {
    "conv1": "first.conv",
    "gn1": "first.norm",
    "conv2": "second.conv",
    "gn2": "second.norm",
    "conv3": "third.conv",
    "gn3": "third.norm",
    "downsample": "shortcut.conv",
    "gn_proj": "shortcut.norm",
}
_OF_LAYER = {
    "attention_norm": "norm1",
    "ffn_norm": "norm2",
    "attn.out": "attention.proj",
    "ffn.fc1": "mlp.fc1",
    "ffn.fc2": "mlp.fc2",
}
_PREFIXES = {
    "transformer.embeddings.hybrid_model.root.conv": "resnet.stem.conv",
    "transformer.embeddings.hybrid_model.root.gn": "resnet.stem.norm",
    "transformer.embeddings.patch_embeddings": "embedding",
    "transformer.encoder.encoder_norm": "norm",
    "decoder.conv_more.0": "bridge.conv",
    "decoder.conv_more.1": "bridge.norm",
    "segmentation_head.0": "head",
}
_POSITIONS = "transformer.embeddings.position_embeddings"
_UNIT = re.compile(
    r"transformer\.embeddings\.hybrid_model\.body\.block([1-3])\.unit([1-9]\d*)\.(\w+)"
)
_LAYER = re.compile(
    r"transformer\.encoder\.layer\.(\d+)\.(attention_norm|ffn_norm|attn\.out|ffn\.fc[12])"
)
_QUERY = re.compile(r"transformer\.encoder\.layer\.(\d+)\.attn\.query\.(weight|bias)")
_UP = re.compile(r"decoder\.blocks\.(\d+)\.conv([12])\.([01])")


def rename(state_dict: Mapping[str, Tensor], **options: object) -> dict[str, Tensor]:
    """The authors' state dict with TransUNet's keys.

    The query, key and value of a layer become one ``qkv``.

    Keys that it does not know stay as they are, and so do queries, keys and values that are not all
    there. The position embeddings keep their length: build the network with the ``img_size`` that
    the weights were trained at.

    Args:
        options: those of the network; none changes a name.
    """
    renamed: dict[str, Tensor] = {}
    fused: set[str] = set()
    for key in state_dict:
        query = _QUERY.fullmatch(key)
        if query is None:
            continue
        parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in state_dict for part in parts):
            fused.update(parts)
            renamed[f"layers.{query[1]}.attention.qkv.{query[2]}"] = torch.cat(
                [state_dict[part] for part in parts]
            )
    for key, value in state_dict.items():
        if key not in fused:
            renamed[_name(key)] = value
    return renamed


def _name(key: str) -> str:
    if key == _POSITIONS:
        return "positions"
    module, _, tensor = key.rpartition(".")
    if module in _PREFIXES:
        return f"{_PREFIXES[module]}.{tensor}"
    if (unit := _UNIT.fullmatch(module)) and unit[3] in _OF_UNIT:
        return f"resnet.stages.{int(unit[1]) - 1}.{int(unit[2]) - 1}.{_OF_UNIT[unit[3]]}.{tensor}"
    if layer := _LAYER.fullmatch(module):
        return f"layers.{layer[1]}.{_OF_LAYER[layer[2]]}.{tensor}"
    if up := _UP.fullmatch(module):
        place, kind = ("first", "second")[int(up[2]) - 1], ("conv", "norm")[int(up[3])]
        return f"ups.{up[1]}.{place}.{kind}.{tensor}"
    return key
