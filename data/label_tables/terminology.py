"""What a label means, in codes: of the plan where it says so, else of the label's name."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .names import LEFT, RIGHT, Known, known_finding, known_label, plain_name

SNOMED, PRIVATE = "SCT", "99GRIDGATE"
"""Coding schemes as DICOM names them; the second holds names that no table of ours knows."""
PARTS = ("category", "type", "modifier", "region")
"""What a plan may say of a label; the type it must."""
_LONGEST = {"scheme": 16, "value": 64, "meaning": 64}  # characters, as DICOM has them
_LONGEST_SHORT_VALUE = 16
_SEPARATORS = re.compile(r"[\^~|\\\x00-\x1f\x7f]")  # of 3D Slicer's tags, and of DICOM's values


@dataclass(frozen=True)
class Code:
    """A code and what it means.

    Args:
        scheme: coding scheme designator, such as "SCT" for SNOMED CT.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What a label shows, as DICOM SEG and 3D Slicer say it.

    Args:
        category: such as anatomical structure.
        type: such as liver, or neoplasm.
        modifier: left or right, or whatever else narrows the type, or the region where there is
            one; None is none.
        region: the organ that a finding is in; None is none.
    """

    category: Code
    type: Code
    modifier: Code | None = None
    region: Code | None = None


ANATOMICAL = Code(SNOMED, "91723000", "Anatomical Structure")
ABNORMAL = Code(SNOMED, "49755003", "Morphologically Abnormal Structure")
SIDES = {
    LEFT: Code(SNOMED, "7771000", "Left"),
    RIGHT: Code(SNOMED, "24028007", "Right"),
}


def terminology_of(name: str) -> Terminology:
    """The codes of a label's name; a name that is not known gets a private code.

    `kidney_left`, `Left kidney` and `kidneys (L)` are all the left kidney; `liver tumor` is a
    neoplasm in the liver.

    >>> terminology_of("kidney_left").type.meaning, terminology_of("kidney_left").modifier.meaning
    ('Kidney', 'Left')
    >>> terminology_of("gizmo").type
    Code(scheme='99GRIDGATE', value='GIZMO', meaning='gizmo')
    """
    plain, side = plain_name(name)
    modifier = None if side is None else SIDES[side]
    known = known_label(plain)
    if known is not None:
        category = ABNORMAL if known.abnormal else ANATOMICAL
        return Terminology(category, _code(known), modifier)
    finding = known_finding(plain)
    if finding is not None:
        return Terminology(ABNORMAL, _code(finding[0]), modifier, _code(finding[1]))
    return Terminology(ANATOMICAL, Code(PRIVATE, _private_value(name), _meaning(name)))


def planned_terminology(label: str, settings: Any) -> Terminology:
    """The codes that a plan gives a label.

    Args:
        settings: {"type": [scheme, value, meaning]}, and perhaps "category", "modifier", "region"
            in the same form.

    Raises:
        ConfigError: something else; the text says what is wanted.

    >>> planned_terminology("anterior", {"type": ["SCT", 5366008, "Hippocampus"]}).type.value
    '5366008'
    """
    where = f"terminology of {label}"
    if not isinstance(settings, Mapping) or "type" not in settings:
        raise ConfigError(
            f"{where}: {settings!r} is no mapping with a type, such as "
            "{type: [SCT, 10200004, Liver]}"
        )
    unknown = sorted(set(map(str, settings)) - set(PARTS))
    if unknown:
        raise ConfigError(f"{where}: {', '.join(unknown)} is none of {', '.join(PARTS)}")
    codes = {
        part: _given(f"{where}: {part}", value)
        for part, value in settings.items()
        if value is not None or part == "type"
    }
    return Terminology(
        codes.get("category", ANATOMICAL),
        codes["type"],
        codes.get("modifier"),
        codes.get("region"),
    )


def check_terminology(terminology: Any, labels: Sequence[str]) -> None:
    """Refuse what a plan cannot say of its labels.

    Args:
        terminology: label -> its codes, see planned_terminology; None says nothing.
        labels: of the plan, the background first.

    Raises:
        ConfigError: no mapping, a label that is not there or is the background, no codes.
    """
    if terminology is None:
        return
    if not isinstance(terminology, Mapping):
        raise ConfigError(
            f"terminology {terminology!r}: label -> its codes is wanted, such as "
            "{liver: {type: [SCT, 10200004, Liver]}}"
        )
    strangers = [str(name) for name in terminology if name not in labels[1:]]
    if strangers:
        raise ConfigError(
            f"terminology speaks of {', '.join(strangers)}, which is no foreground label; there "
            f"are {', '.join(labels[1:])}"
        )
    for name, settings in terminology.items():
        planned_terminology(name, settings)


def _given(where: str, value: Any) -> Code:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ConfigError(f"{where} is {value!r}, not [scheme, value, meaning]")
    texts = []
    for (part, longest), one in zip(_LONGEST.items(), value, strict=True):
        text = str(one) if isinstance(one, int) and not isinstance(one, bool) else one
        if not isinstance(text, str) or not text.strip() or len(text) > longest:
            raise ConfigError(f"{where}: {part} {one!r} is no text of 1 to {longest} characters")
        if _SEPARATORS.search(text):
            raise ConfigError(f"{where}: {part} {one!r} must not hold ^, ~, |, \\ or line ends")
        texts.append(text)
    return Code(*texts)


def _code(known: Known) -> Code:
    return Code(SNOMED, known.value, known.meaning)


def _meaning(name: str) -> str:
    return _SEPARATORS.sub(" ", name).strip()[: _LONGEST["meaning"]] or "label"


def _private_value(name: str) -> str:
    value = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if value and len(value) <= _LONGEST_SHORT_VALUE:
        return value
    return f"{value[: _LONGEST_SHORT_VALUE - 9]}_{zlib.crc32(name.encode(errors='replace')):08X}"
