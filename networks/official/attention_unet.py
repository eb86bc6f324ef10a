"""Attention U-Net and its U-Net (arXiv 1804.03999): the authors' names in ours."""

import re
from collections.abc import Mapping

from torch import Tensor

_UNIT = {"0": "conv", "1": "norm"}
_PLACE = {"1": "first", "2": "second"}

_LEVEL = re.compile(r"conv([1-4])\.conv([12])\.([01])\.(.+)")
_BOTTOM = re.compile(r"center\.conv([12])\.([01])\.(.+)")
_SIGNAL = re.compile(r"gating\.conv1\.([01])\.(.+)")
_GATE = re.compile(
    r"attentionblock([2-4])\.(?:gate_block_([12])\.)?(?:(theta|phi|psi)|W\.([01]))\.(.+)"
)
_COMBINE = re.compile(r"attentionblock([2-4])\.combine_gates\.([01])\.(.+)")
_UP = re.compile(r"up_concat([1-4])\.conv\.conv([12])\.([01])\.(.+)")
_HEAD = re.compile(r"(?:dsv([2-4])\.dsv\.0|dsv1|(final))\.(.+)")


def rename(state_dict: Mapping[str, Tensor], **options: object) -> dict[str, Tensor]:
    """The authors' state dict with the keys of AttentionUNet (any variant) or of UNet.

    Keys that it does not know stay as they are. ``final`` is the only head of the early anisotropic
    variant, and mixes the four heads (``dsv``) of the others: which it is, the other keys tell.

    Args:
        options: those of the network; none changes a name.
    """
    fused = any(key.startswith("dsv") for key in state_dict)
    return {_name(key, fused): value for key, value in state_dict.items()}


def _name(key: str, fused: bool) -> str:
    if found := _LEVEL.fullmatch(key):
        level, place, unit, rest = found.groups()
        return f"down{level}.{_PLACE[place]}.{_UNIT[unit]}.{rest}"
    if found := _BOTTOM.fullmatch(key):
        place, unit, rest = found.groups()
        return f"bottom.{_PLACE[place]}.{_UNIT[unit]}.{rest}"
    if found := _SIGNAL.fullmatch(key):
        unit, rest = found.groups()
        return f"gating_signal.{_UNIT[unit]}.{rest}"
    if found := _GATE.fullmatch(key):
        level, number, part, unit, rest = found.groups()
        gate = f"gate{level}" if number is None else f"gate{level}.gates.{int(number) - 1}"
        return f"{gate}.{part or 'output.' + _UNIT[unit]}.{rest}"
    if found := _COMBINE.fullmatch(key):
        level, unit, rest = found.groups()
        return f"gate{level}.combine.{_UNIT[unit]}.{rest}"
    if found := _UP.fullmatch(key):
        level, place, unit, rest = found.groups()
        return f"up{level}.block.{_PLACE[place]}.{_UNIT[unit]}.{rest}"
    if found := _HEAD.fullmatch(key):
        level, last, rest = found.groups()
        return f"head.fuse.{rest}" if last and fused else f"head.level{level or 1}.{rest}"
    return key
