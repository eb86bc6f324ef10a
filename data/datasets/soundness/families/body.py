"""Labels where there is nothing to label: air around the body, or a blank part of the image."""

from __future__ import annotations

import re

from ..findings import Finding, Level
from ..listing import Listing
from ..measures import CaseNumbers

_OUTSIDE, _FAR_OUTSIDE = 0.1, 0.5
_BLANK = 0.1
_AIRY = re.compile(r"(?i)lung|airway|trachea|bronch|air|sinus|pharyn|larynx|nasal|oesoph|esoph")


def find(case: CaseNumbers, listing: Listing) -> list[Finding]:
    """Findings about labels of a case outside its body."""
    if case.label is None:
        return []
    outside: dict[str, float] = {}
    blank: dict[str, float] = {}
    for name, value in listing.labels.items():
        label = case.labels.get(value)
        if label is None or not label.intensity:
            continue
        if label.outside > _OUTSIDE and not _AIRY.search(name):
            outside[name] = label.outside
        elif label.blank > _BLANK:
            blank[name] = label.blank
    path, found = case.label.path, []
    if outside:
        text = (
            f"{path}: {_told(outside)} in the air around the body, or where the image is blank: "
            "shifted, flipped, another scan's, or drawn beyond it"
        )
        level: Level = "error" if max(outside.values()) > _FAR_OUTSIDE else "warning"
        found.append(Finding("label-outside-body", level, case.id, text, {"shares": outside}))
    if blank:
        text = (
            f"{path}: {_told(blank)} where the image has its lowest value, as outside of the field "
            "of view: shifted, or the image is cut off there"
        )
        found.append(Finding("label-on-blank", "warning", case.id, text, {"shares": blank}))
    return found


def _told(shares: dict[str, float]) -> str:
    """Such as "60% of mandible, 41% of left_parotid lie"."""
    told = ", ".join(f"{share:.0%} of {name}" for name, share in shares.items())
    return f"{told} lie{'s' if len(shares) == 1 else ''}"
