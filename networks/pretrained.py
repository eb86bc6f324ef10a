"""Weights of 2D image classifiers, from local files, for the 2D and 3D networks here.

The papers' results rest on encoders trained on ImageNet. ``load_resnet`` and ``load_vit`` take
state dicts in torchvision's naming of ResNets and in timm's of DeiT and ViT, adapt them to the
network (channels of the input, third axis, token grid) and put them in. Nothing is downloaded.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .layers.vision_transformer import VisionTransformer, resize_positions

Weights = Mapping[str, Tensor] | str | Path
"""A state dict, or the path of a file of one."""

_OTHER_TOKENS = ("cls_token", "dist_token", "reg_token")  # before the patches, in timm's models


class Loaded(NamedTuple):
    """What became of a state dict: tensors that were set, and those of the file dropped."""

    loaded: list[str]
    dropped: list[str]


def load_resnet(trunk: nn.Module, weights: Weights) -> Loaded:
    """Put a ResNet's weights, in torchvision's naming, into TransFuse's ``trunk``.

    Kernels are inflated along the third axis for a 3D trunk, the first convolution is adapted to
    the trunk's channels. Stages that the trunk has not, and the classifier, are dropped.

    Raises:
        ValueError: the state dict lacks a tensor of the trunk, or one has another shape; the trunk
            is left as it was.
    """
    source = read_state_dict(weights)
    return _put(
        trunk,
        {name: source[name] for name in trunk.state_dict() if name in source},
        source,
        "conv1.weight",
    )


def load_vit(
    transformer: VisionTransformer, weights: Weights, *, grid: Sequence[int] | None = None
) -> Loaded:
    """Put a ViT's weights, in timm's naming (deit, vit), into a VisionTransformer.

    The patch projection is inflated along the third axis for a 3D network and adapted to its
    channels. Position embeddings lose those of the class and distillation tokens and are
    interpolated to the network's token grid; in 3D all tokens along the third axis get the same.
    Class token, classifier and the blocks that the network has not are dropped.

    Args:
        grid: the token grid of the file's position embeddings; None for a square one, as timm's
            are.

    Raises:
        ValueError: as load_resnet; or the file's position embeddings do not make up its token grid.
    """
    source = read_state_dict(weights)
    names = {name: _timm_name(name) for name in transformer.state_dict()}
    found = {name: source[theirs] for name, theirs in names.items() if theirs in source}
    if "positions" in found:
        others = sum(source[token].shape[1] for token in _OTHER_TOKENS if token in source)
        found["positions"] = _positions(found["positions"], others, grid, transformer)
    return _put(transformer, found, source, "patches.weight", names)


def read_state_dict(weights: Weights) -> dict[str, Tensor]:
    """A state dict as it is, or read from a file with ``weights_only=True``.

    Checkpoints that keep it under "model" or "state_dict", and the prefix "module." of parallel
    training, are unpacked. Raises ValueError when there are no tensors in it.
    """
    content: Any = weights
    if isinstance(weights, (str, Path)):
        content = torch.load(weights, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError("the weights are no state dict: there are no tensors by name in them.")
    return {
        name.removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def inflate(kernel: Tensor, depth: int) -> Tensor:
    """A 2D kernel (O, I, X, Y) repeated along a new axis, over its size: (O, I, X, Y, depth).

    So that an input that is constant along that axis gives the 2D convolution's output (Carreira
    and Zisserman 2017, arXiv 1705.07750). ``depth`` is the 3D kernel's size there.
    """
    return (kernel / depth).unsqueeze(-1).repeat_interleave(depth, dim=-1)


def adapt_channels(kernel: Tensor, in_channels: int) -> Tensor:
    """A kernel on RGB (O, 3, ...) for another number of channels: (O, in_channels, ...).

    Each channel gets the sum over R, G and B divided by ``in_channels``: a grey image, given once
    or in every channel, gives what it gave as RGB. A kernel that has ``in_channels`` already stays.
    """
    if kernel.shape[1] == in_channels:
        return kernel
    mixed = kernel.sum(dim=1, keepdim=True) / in_channels
    return mixed.repeat_interleave(in_channels, dim=1)


def _put(
    module: nn.Module,
    found: dict[str, Tensor],
    source: Mapping[str, Tensor],
    first: str,
    names: Mapping[str, str] | None = None,
) -> Loaded:
    """Adapt ``found`` (by our names) to the module's shapes and load it.

    ``first`` names the kernel on the input.
    """
    own = module.state_dict()
    adapted: dict[str, Tensor] = {}
    for name, value in found.items():
        wanted = own[name]
        if wanted.dim() == 5 and value.dim() == 4:
            value = inflate(value, wanted.shape[4])
        if name == first:
            value = adapt_channels(value, wanted.shape[1])
        if value.shape != wanted.shape:
            raise ValueError(
                f"the pretrained {(names or {}).get(name, name)} has the shape {list(value.shape)} "
                "and the network's "
                f"{name} {list(wanted.shape)}: build the network with the widths of the pretrained "
                "one."
            )
        adapted[name] = value
    # torchvision's old files have no count of batches
    missing = [
        name for name in own if name not in adapted and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise ValueError(
            f"{len(missing)} tensors of the network are not in the pretrained weights, for example "
            f"{(names or {}).get(missing[0], missing[0])}: is it that network, and torchvision's "
            "or timm's naming?"
        )
    module.load_state_dict(adapted, strict=False)
    used = {(names or {}).get(name, name) for name in adapted}
    return Loaded(list(adapted), [name for name in source if name not in used])


def _timm_name(name: str) -> str:
    if name == "positions":
        return "pos_embed"
    return re.sub(r"^patches\.", "patch_embed.proj.", name).replace(".attention.", ".attn.")


def _positions(
    positions: Tensor, others: int, grid: Sequence[int] | None, transformer: VisionTransformer
) -> Tensor:
    """(1, others + n, C) or (1, n, C) of a 2D file -> (1, tokens, C) of the network.

    ``others`` tokens are no positions.
    """
    count, target = positions.shape[1], list(transformer.grid)
    for extra in (others, 0):  # some files give the class token no position
        side = math.isqrt(max(count - extra, 0))
        shape = list(grid or (side, side))
        if side and math.prod(shape) == count - extra:
            flat = resize_positions(
                positions[:, extra:], shape, target[:2], transformer.align_corners
            )
            repeats = math.prod(target[2:])  # 1 in 2D; the third axis is the fastest
            return flat.repeat_interleave(repeats, dim=1)
    raise ValueError(
        f"the pretrained network has {count} position embeddings, which are no token grid "
        f"{list(grid) if grid else 'of equal sides'} with or without its class token: give the "
        "file's grid."
    )
