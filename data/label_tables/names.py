"""A label's name as words: its side, its plain form, and what is known of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .known import ABNORMAL, ANATOMY, VERTEBRAE, Color, Row
from .sides import as_words

LEFT, RIGHT = "left", "right"
_SIDES = {"left": LEFT, "l": LEFT, "lt": LEFT, "right": RIGHT, "r": RIGHT, "rt": RIGHT}
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Known:
    """What the tables say of a name.

    Args:
        value, meaning: of its code in SNOMED CT.
        color: red, green, blue, 0 to 255; None where the table has none.
        abnormal: whether it is a tumour or the like.
    """

    value: str
    meaning: str
    color: Color | None
    abnormal: bool = False


def plain_name(name: str) -> tuple[str, str | None]:
    """A name in lower case without its side, words separated by one space; and the side.

    A name of two sides keeps both and has none; one without any letter or digit stays as it is.

    >>> plain_name("Kidney_LEFT"), plain_name("left & right lung"), plain_name("?")
    (('kidney', 'left'), ('left right lung', None), ('?', None))
    >>> plain_name("LeftKidney")
    ('kidney', 'left')
    """
    words = _WORD.findall(as_words(unicodedata.normalize("NFKC", name)).casefold())
    sides = {_SIDES[word] for word in words if word in _SIDES}
    others = [word for word in words if word not in _SIDES]
    if len(sides) == 1 and others:
        return " ".join(others), sides.pop()
    return " ".join(words) or name, None


def known_label(plain: str) -> Known | None:
    """What is known of a plain name, its plural, or the name without a number behind it.

    >>> known_label("kidneys").meaning, known_label("rib 7").meaning, known_label("gizmo")
    ('Kidney', 'Rib', None)
    """
    for spelt in (plain, plain.removesuffix("s"), re.sub(r" \d+$", "", plain)):
        if spelt in _KNOWN:
            return _KNOWN[spelt]
    return None


def known_finding(plain: str) -> tuple[Known, Known] | None:
    """A finding and the organ that it is in, of a plain name that says both.

    >>> [one.meaning for one in known_finding("liver tumors")]
    ['Neoplasm', 'Liver']
    """
    organ, _, finding = plain.rpartition(" ")
    found, place = known_label(finding), known_label(organ)
    if found is None or place is None or not found.abnormal or place.abnormal:
        return None
    return found, place


def _rows(rows: tuple[Row, ...], *, abnormal: bool = False) -> dict[str, Known]:
    return {
        spelling: Known(value, meaning, color, abnormal)
        for spellings, value, meaning, color in rows
        for spelling in spellings.split(", ")
    }


_KNOWN = {
    **_rows(ANATOMY),
    **_rows(ABNORMAL, abnormal=True),
    **{
        f"{word} {level}": Known(value, f"{level.upper()} vertebra", None)
        for level, value in VERTEBRAE.items()
        for word in ("vertebra", "vertebrae")
    },
}
