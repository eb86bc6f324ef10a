"""Which labels are the two sides of one organ, by their names."""

from __future__ import annotations

import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIDE = re.compile(r"(?i)(?<![a-z])(left|right|lt|rt|l|r)(?![a-z])")
_LAST = re.compile(r"[A-Z][LR]$")
_SIDES = {"left": "left", "lt": "left", "l": "left"}


def sides_of(labels: dict[str, int]) -> list[tuple[int, int]]:
    """(value of the right one, value of the left one) of labels whose names differ so.

    >>> sides_of({"right_kidney": 2, "left_kidney": 3, "liver": 6})
    [(2, 3)]
    >>> sides_of({"KidneyL": 2, "KidneyR": 3, "Eye_AR": 4, "Eye_AL": 5})
    [(3, 2), (4, 5)]
    """
    found: dict[str, dict[str, int]] = {}
    for name, value in labels.items():
        spoken = as_words(name)
        sides = _SIDE.findall(spoken)
        if len(sides) == 1:
            side = _SIDES.get(sides[0].lower(), "right")
            found.setdefault(_SIDE.sub("*", spoken.lower()), {})[side] = value
        elif _LAST.search(name):  # Eye_AL and Eye_AR
            side = "left" if name[-1] == "L" else "right"
            found.setdefault(f"{name[:-1].lower()}*", {})[side] = value
    return [(both["right"], both["left"]) for both in found.values() if len(both) == 2]


def as_words(name: str) -> str:
    """A label's name with spaces between its words.

    >>> as_words("LeftKidney"), as_words("left_upper-lobe"), as_words("LKidney")
    ('Left Kidney', 'left upper lobe', 'L Kidney')
    """
    return _CAMEL.sub(" ", name.replace("_", " ").replace("-", " "))
