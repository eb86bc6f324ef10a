"""How far a surface may be from the reference's to count as right, per label, in mm."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...data.errors import ConfigError

USUAL_MM = 3.0
"""For labels that no table names: TotalSegmentator's (Wasserthal et al. 2023, arXiv 2208.05868)."""

HEAD_AND_NECK_MM = {
    "brain": 1.01,
    "brainstem": 2.5,
    "cochlea": 1.25,
    "lens": 0.98,
    "lung": 2.42,
    "mandible": 1.01,
    "optic_nerve": 2.5,
    "orbit": 1.65,
    "parotid": 2.85,
    "spinal_canal": 1.17,
    "spinal_cord": 2.93,
    "submandibular": 2.02,
}
"""By how much experts differ from each other (Nikolov et al. 2018, arXiv 1809.04430)."""

DECATHLON_MM = {
    "anterior": 1.0,
    "posterior": 1.0,
    "hippocampus": 1.0,
    "liver": 7.0,
    "prostate": 4.0,
    "pancreas": 5.0,
    "colon": 4.0,
    "vessel": 3.0,
    "spleen": 3.0,
    "left_atrium": 4.0,
}
"""Of the Medical Segmentation Decathlon (Antonelli et al. 2022, arXiv 2106.05735)."""

_SIDES = re.compile(r"^(left|right|l|r)_|_(left|right|l|r)$")


def tolerance(label: str, given: Mapping[str, float] | None = None) -> float:
    """The tolerance of a label, mm: the given one, or that of the literature, or USUAL_MM.

    Args:
        label: its name; left and right have the same.
        given: label -> mm; perhaps not all.

    Raises:
        ConfigError: the given one is below 0.

    >>> tolerance("left_parotid"), tolerance("aorta"), tolerance("aorta", {"aorta": 2.0})
    (2.85, 3.0, 2.0)
    """
    if given is not None and label in given:
        if not given[label] >= 0:
            raise ConfigError(f"the tolerance of {label} must be 0 mm or more, not {given[label]}")
        return float(given[label])
    name = re.sub(r"[\s-]+", "_", label.strip().lower())
    known = {**HEAD_AND_NECK_MM, **DECATHLON_MM}
    return known.get(name, known.get(_SIDES.sub("", name), USUAL_MM))
