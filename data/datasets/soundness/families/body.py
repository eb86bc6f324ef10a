"""Labels where there is nothing to label: air around the body, or a blank part of the image."""

from __future__ import annotations

import re

from ..findings import Finding
from ..listing import Listing
from ..measures import CaseNumbers

_OUTSIDE, _FAR_OUTSIDE = 0.1, 0.5
_BLANK = 0.1
_AIRY = re.compile(r"(?i)lung|airway|trachea|bronch|air|sinus|pharyn|larynx|nasal|oesoph|esoph")


def find(case: CaseNumbers, listing: Listing) -> list[Finding]:
    """Findings about labels of a case outside its body."""
    found = []
    names = {value: name for name, value in listing.labels.items()}
    for value, label in case.labels.items():
        name = names.get(value, str(value))
        if case.label is None or not label.intensity:
            continue
        path = case.label.path
        if label.outside > _OUTSIDE and not _AIRY.search(name):
            level = "error" if label.outside > _FAR_OUTSIDE else "warning"
            text = (
                f"{path}: {label.outside:.0%} of the label {name} lies in the air around the body, "
                "or where the image is blank: shifted, flipped, another scan's, or drawn beyond it"
            )
            numbers = {"label": name, "share": label.outside}
            found.append(Finding("label-outside-body", level, case.id, text, numbers))
        elif label.blank > _BLANK:
            text = (
                f"{path}: {label.blank:.0%} of the label {name} lies where the image has its "
                "lowest value, as outside of the field of view: shifted, or the image is cut off there"
            )
            numbers = {"label": name, "share": label.blank}
            found.append(Finding("label-on-blank", "warning", case.id, text, numbers))
    return found
