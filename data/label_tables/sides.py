"""Which labels are the two sides of one organ, by their names."""

from __future__ import annotations

import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIDE = re.compile(r"(?i)(?<![a-z])(left|right|lt|rt|l|r)(?![a-z])")
_LAST = re.compile(r"[A-Z][LR]$")
_LEVEL = re.compile(r"(?i)(?<![a-z])[lr]\d")  # L1 is a vertebra
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
        if (sided := _side_of(name)) is not None:
            side, organ = sided
            found.setdefault(organ, {})[side] = value
    return [(both["right"], both["left"]) for both in found.values() if len(both) == 2]


def has_side(name: str) -> bool:
    """Whether a label's name alone says that it is of one side of the body.

    >>> [has_side(one) for one in ("left_kidney", "Kidney_L", "lt parotid", "FemurR")]
    [True, True, True, True]
    >>> [has_side(one) for one in ("liver", "vertebrae_L1", "left_right_ratio", "WALL")]
    [False, False, False, False]
    """
    spoken = as_words(name)
    return len(_SIDE.findall(spoken)) == 1 and not _LEVEL.search(spoken)


def _side_of(name: str) -> tuple[str, str] | None:
    """(side, organ) of a label's name that may be one of two; None where it tells none."""
    spoken = as_words(name)
    sides = _SIDE.findall(spoken)
    if len(sides) == 1:
        return _SIDES.get(sides[0].lower(), "right"), _SIDE.sub("*", spoken.lower())
    if _LAST.search(name):  # Eye_AL and Eye_AR
        return "left" if name[-1] == "L" else "right", f"{name[:-1].lower()}*"
    return None


def as_words(name: str) -> str:
    """A label's name with spaces between its words.

    >>> as_words("LeftKidney"), as_words("left_upper-lobe"), as_words("LKidney")
    ('Left Kidney', 'left upper lobe', 'L Kidney')
    """
    return _CAMEL.sub(" ", name.replace("_", " ").replace("-", " "))
