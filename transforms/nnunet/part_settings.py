"""The parts of a model that is several networks, one after another; needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...data.errors import ConfigError

OWN = ("spacing", "roi_size", "intensity", "nnunet", "mirror_axes")
"""What a part may have of its own; the rest is that of the bundle."""


def check_parts(parts: Any, labels: Sequence[str]) -> None:
    """Refuse parts that cannot be.

    Args:
        parts: of each a mapping: "name"; "values", of each of its channels the label of the whole
            that it is, the background's 0 first; and of OWN what differs from the bundle's.
        labels: names of the whole, the background first.

    Raises:
        ConfigError: no list of such mappings, or a value that is no label of the whole.

    Example:
        >>> check_parts([{"name": "left", "values": [0, 2]}], ["background", "right", "left"])
    """
    if not isinstance(parts, list | tuple) or not parts:
        raise ConfigError(f"parts {parts!r}: a list of mappings is wanted, one for each network")
    for part in parts:
        known = {"name", "values", *OWN}
        if not isinstance(part, Mapping) or set(part) - known or "values" not in part:
            raise ConfigError(
                f"parts: {part!r} is no mapping with values, a name, and of {', '.join(OWN)} what "
                "is its own"
            )
        values = part["values"]
        sound = isinstance(values, list | tuple) and len(values) > 1 and values[0] == 0
        if not sound or not all(type(one) is int and 0 < one < len(labels) for one in values[1:]):
            raise ConfigError(
                f"parts: values {values!r} of {part.get('name', 'a part')}: of each channel the "
                f"label that it is in the whole is wanted, the background's 0 first, the others "
                f"from 1 to {len(labels) - 1}"
            )


def part_settings(part: Mapping[str, Any], **common: Any) -> dict[str, Any]:
    """What a part is run with: its own settings over the bundle's.

    >>> part_settings({"values": [0, 1], "roi_size": [8, 8, 8]}, roi_size=[4, 4, 4], spacing=None)
    {'roi_size': [8, 8, 8], 'spacing': None}
    """
    return common | {name: part[name] for name in OWN if name in part and name in common}
