"""UCTransNet's published checkpoints (Wang et al. 2021, arXiv 2109.04335) under our names."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..uctransnet import token_grid

_UNIT = r"(?P<unit>conv|norm)\.(?P<end>\w+)"
_LAYER = r"mtc\.encoder\.layer\.(?P<layer>\d+)\."
_SCALE = "transformer.layers.{layer}.scales.{scale}."

_NAMES = [  # the authors' name -> ours; they count scales from 1, we from 0
    (rf"inc\.{_UNIT}", "inc.{unit}.{end}"),
    (rf"(?P<level>down[1-4])\.nConvs\.(?P<place>[01])\.{_UNIT}", "{level}.{place}.{unit}.{end}"),
    (
        rf"(?P<level>up[1-4])\.nConvs\.(?P<place>[01])\.{_UNIT}",
        "{level}.block.{place}.{unit}.{end}",
    ),
    (r"(?P<level>up[1-4])\.coatt\.mlp_x\.1\.(?P<end>\w+)", "{level}.attention.from_skip.{end}"),
    (r"(?P<level>up[1-4])\.coatt\.mlp_g\.1\.(?P<end>\w+)", "{level}.attention.from_decoder.{end}"),
    (r"outc\.(?P<end>\w+)", "head.{end}"),
    (
        r"mtc\.embeddings_(?P<scale>[1-4])\.patch_embeddings\.(?P<end>\w+)",
        "transformer.embeddings.{scale}.patch.{end}",
    ),
    (
        r"mtc\.embeddings_(?P<scale>[1-4])\.position_embeddings",
        "transformer.embeddings.{scale}.position",
    ),
    (_LAYER + r"attn_norm\.(?P<end>\w+)", "transformer.layers.{layer}.norm.{end}"),
    (_LAYER + r"attn_norm(?P<scale>[1-4])\.(?P<end>\w+)", _SCALE + "attention_norm.{end}"),
    (_LAYER + r"channel_attn\.out(?P<scale>[1-4])\.(?P<end>\w+)", _SCALE + "output.{end}"),
    (_LAYER + r"ffn_norm(?P<scale>[1-4])\.(?P<end>\w+)", _SCALE + "feed_forward_norm.{end}"),
    (
        _LAYER + r"ffn(?P<scale>[1-4])\.fc(?P<fc>[12])\.(?P<end>\w+)",
        _SCALE + "feed_forward.linear{fc}.{end}",
    ),
    (
        r"mtc\.encoder\.encoder_norm(?P<scale>[1-4])\.(?P<end>\w+)",
        "transformer.reconstructions.{scale}.norm.{end}",
    ),
    (
        rf"mtc\.reconstruct_(?P<scale>[1-4])\.{_UNIT}",
        "transformer.reconstructions.{scale}.unit.{unit}.{end}",
    ),
]
_HEADS = [  # the heads' weights of a projection, which stand in one weight of ours
    (
        _LAYER + r"channel_attn\.query(?P<scale>[1-4])\.(?P<head>\d+)\.weight",
        _SCALE + "query.weight",
    ),
    (
        _LAYER + r"channel_attn\.(?P<kind>key|value)\.(?P<head>\d+)\.weight",
        "transformer.layers.{layer}.{kind}.weight",
    ),
]


def rename(
    state_dict: Mapping[str, Tensor],
    *,
    spatial_dims: int = 3,
    img_size: int | Sequence[int] | None = None,
    patch_size: int | Sequence[int] = 16,
    heads: int = 4,
    **options: object,
) -> dict[str, Tensor]:
    """The authors' state dict under UCTransNet's names; unknown keys keep their names.

    A projection's heads are stacked into one weight, when all are there. Position embeddings, a
    list of tokens in the authors' code, are laid out on the training window's grid, when their
    number fits it.

    Args:
        state_dict: the authors', keys as ``inc``, ``down1``, ``mtc``, ``up1``, ``outc``.
        spatial_dims: of the network.
        img_size: as the network's option.
        patch_size: as the network's option.
        heads: as the network's option.
        options: the network's others; they change no name.
    """
    grid = token_grid(spatial_dims, img_size, patch_size)[2]
    renamed: dict[str, Tensor] = {}
    projections: dict[str, dict[int, str]] = {}  # our key -> head -> the authors' key
    for key, value in state_dict.items():
        if found := _match(key, _HEADS):
            ours, groups = found
            projections.setdefault(ours, {})[int(groups["head"])] = key
        elif found := _match(key, _NAMES):
            renamed[found[0]] = _on_grid(value, grid) if found[0].endswith(".position") else value
        else:
            renamed[key] = value
    for ours, keys in projections.items():
        if sorted(keys) == list(range(heads)):
            renamed[ours] = torch.cat([state_dict[keys[head]] for head in range(heads)])
        else:  # under their own names the parts are seen to be left over, and ours to be missing
            renamed.update({key: state_dict[key] for key in keys.values()})
    return renamed


def _match(key: str, names: list[tuple[str, str]]) -> tuple[str, dict[str, str]] | None:
    """Our name for the key, and the parts of the authors'; None when no pattern fits."""
    for pattern, ours in names:
        if match := re.fullmatch(pattern, key):
            groups = match.groupdict()
            if "scale" in groups:
                groups["scale"] = str(int(groups["scale"]) - 1)
            if "place" in groups:
                groups["place"] = ("first", "second")[int(groups["place"])]
            return ours.format(**groups), groups
    return None


def _on_grid(position: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(1, tokens, C) -> (1, C, *grid); unchanged when there are more or fewer tokens."""
    if position.dim() != 3 or position.shape[1] != torch.Size(grid).numel():
        return position
    return position.transpose(1, 2).unflatten(2, grid).contiguous()
