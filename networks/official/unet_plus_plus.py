"""State dicts of the UNet++ authors' releases, Keras and PyTorch form, under our names."""

import re
from collections.abc import Mapping

from torch import Tensor

PAPER = re.compile(
    r"(?:conv(?P<node>[1-9][1-9])_(?P<unit>[12])|up(?P<up>[1-9][1-9])|output(?:_(?P<depth>[1-9]))?)"
    r"(?:\.|/(?:\w+/)?)(?P<what>kernel|weight|bias)(?::0)?"
)
"""conv21_1.weight, up12.bias, output_3.weight; in an .h5 file conv21_1/conv21_1/kernel:0."""

_UNIT_TENSORS = r"weight|bias|running_mean|running_var|num_batches_tracked"
"""What a unit holds; the releases call its norm ``instnorm`` whatever it is, batch norm as well."""

CONTEXT = re.compile(
    r"conv_blocks_context\.(?P<level>\d+)\.(?:blocks\.(?P<a>[01])|(?P<b>[01])\.blocks\.0)"
    rf"\.(?P<part>conv|instnorm)\.(?P<what>{_UNIT_TENSORS})"
)
LOCALISATION = re.compile(
    r"loc(?P<k>\d)\.(?P<j>\d)\.(?P<unit>[01])\.blocks\.0"
    rf"\.(?P<part>conv|instnorm)\.(?P<what>{_UNIT_TENSORS})"
)
UP = re.compile(r"up(?P<k>\d)\.(?P<j>\d)\.(?P<what>weight|bias)")
HEAD = re.compile(r"seg_outputs\.(?P<m>\d+)\.(?P<what>weight|bias)")

UNITS = ("first", "second")
PARTS = {"conv": "conv", "instnorm": "norm"}


def rename(state_dict: Mapping[str, Tensor], **options: object) -> dict[str, Tensor]:
    """A release's state dict under the names of UNetPlusPlus; it serves the whole family.

    Taken are the later PyTorch form's keys (``conv_blocks_context.0...``), and the paper form's
    layer names with ``.weight`` and ``.bias``, or as Keras writes them,
    ``conv11_1/conv11_1/kernel:0``: those kernels, whose last two axes are the channels, are turned
    to PyTorch's order. Keys that are neither stay as they are.

    Args:
        state_dict: of one release.
        options: those of the network, as every network's ``rename`` takes them; the keys tell all
            that is needed.
    """
    stages = [int(found["level"]) for key in state_dict if (found := CONTEXT.fullmatch(key))]
    if stages:
        return {_later(key, max(stages)): value for key, value in state_dict.items()}
    renamed = {}
    rows = [
        int(found["node"][0])
        for key in state_dict
        if (found := PAPER.fullmatch(key)) and found["node"]
    ]
    for key, value in state_dict.items():
        found = PAPER.fullmatch(key)
        name = _paper(found, max(rows, default=1) - 1) if found else key
        if found and found["what"] == "kernel":
            value = value.permute(
                value.dim() - 1, value.dim() - 2, *range(value.dim() - 2)
            ).contiguous()
        renamed[name] = value
    return renamed


def _later(key: str, levels: int) -> str:
    """``levels`` is the number of the coarsest stage, and so of down-samplings."""
    if found := CONTEXT.fullmatch(key):
        unit = UNITS[int(found["a"] or found["b"] or 0)]
        return f"encoder.{found['level']}.{unit}.{PARTS[found['part']]}.{found['what']}"
    if (found := LOCALISATION.fullmatch(key)) and (node := _node(found, levels)):
        return f"decoder.{node}.{UNITS[int(found['unit'])]}.{PARTS[found['part']]}.{found['what']}"
    if (found := UP.fullmatch(key)) and (node := _node(found, levels)):
        return f"decoder.{node}.up.{found['what']}"
    if (found := HEAD.fullmatch(key)) and int(found["m"]) < levels:
        return f"heads.{levels - int(found['m'])}.{found['what']}"
    return key


def _node(found: re.Match[str], levels: int) -> str:
    """Name of the node, empty where there is none.

    Each ``loc`` is a diagonal, from the coarsest node to the finest: the longest, i + j = levels,
    is loc0.
    """
    level, column = levels - 1 - int(found["k"]) - int(found["j"]), int(found["j"]) + 1
    return f"{level}_{column}" if level >= 0 else ""


def _paper(found: re.Match[str], deepest: int) -> str:
    """A single head, "output" without a number, is that of the ``deepest`` column."""
    what = "weight" if found["what"] == "kernel" else found["what"]
    if not found["node"] and not found["up"]:
        return f"heads.{found['depth'] or deepest}.{what}"
    level, column = (int(digit) - 1 for digit in found["node"] or found["up"])
    node = f"decoder.{level}_{column}" if column else f"encoder.{level}"
    part = "up" if found["up"] else f"{UNITS[int(found['unit']) - 1]}.conv"
    return f"{node}.{part}.{what}"
