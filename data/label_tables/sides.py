"""Which labels are the two sides of one organ, by their names."""

from __future__ import annotations

import re

_SIDE = re.compile(r"(?i)(?<![a-z])(left|right|lt|rt|l|r)(?![a-z])")
_SIDES = {"left": "left", "lt": "left", "l": "left"}


def sides_of(labels: dict[str, int]) -> list[tuple[int, int]]:
    """(value of the right one, value of the left one) of labels whose names differ so.

    >>> sides_of({"right_kidney": 2, "left_kidney": 3, "liver": 6})
    [(2, 3)]
    """
    found: dict[str, dict[str, int]] = {}
    for name, value in labels.items():
        spoken = name.replace("_", " ").replace("-", " ")
        sides = _SIDE.findall(spoken)
        if len(sides) == 1:
            side = _SIDES.get(sides[0].lower(), "right")
            found.setdefault(_SIDE.sub("*", spoken.lower()), {})[side] = value
    return [(both["right"], both["left"]) for both in found.values() if len(both) == 2]
