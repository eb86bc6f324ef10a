"""One scan, or one label map, as two cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..findings import Finding
from ..measures import CaseNumbers


def find(cases: Sequence[CaseNumbers]) -> list[Finding]:
    """Findings about cases with the same voxels, in the order of the cases."""
    found = []
    by_image: dict[str, list[CaseNumbers]] = defaultdict(list)
    by_label: dict[str, list[CaseNumbers]] = defaultdict(list)
    for case in cases:
        image = case.images[0]
        constant = bool(image.channels) and image.channels[0].lowest == image.channels[0].highest
        if image.hash and not constant:
            by_image[image.hash].append(case)
        if case.label is not None and case.label.hash:
            by_label[case.label.hash].append(case)
    for same in by_image.values():
        first = min(same, key=_worth)
        found += [_images(first, other) for other in same if other is not first]
    for same in by_label.values():
        for other in same[1:]:
            if other.images[0].hash != same[0].images[0].hash:
                text = (
                    f"{_label(other)}: it is the label map of the case {same[0].id} too, voxel by "
                    "voxel, but their images differ: one was probably copied to the wrong case"
                )
                found.append(Finding("label-twice", "error", other.id, text, {"other": same[0].id}))
    return found


def _worth(case: CaseNumbers) -> tuple[bool, bool, str]:
    """Of the same scans the first is kept: one with a label map that lies on its image."""
    placed = any(label.place is not None for label in case.labels.values())
    return case.job.test, not placed, case.id


def _images(first: CaseNumbers, other: CaseNumbers) -> Finding:
    path, numbers = other.images[0].path, {"other": first.id}
    same = f"{path}: it is the scan of the case {first.id} too, voxel by voxel"
    if other.job.test and not first.job.test:
        text = f"{same}: a test case that is trained on; leave it out of imagesTs, or of training"
        return Finding("case-in-train-and-test", "error", other.id, text, numbers)
    if other.label is None or first.label is None or other.label.hash == first.label.hash:
        text = f"{same}: it counts twice, and may be in training and validation; leave one out"
        return Finding("case-twice", "error", other.id, text, numbers)
    text = f"{same}, but with another label map: find out which is right, and leave one out"
    return Finding("case-twice-labels-differ", "error", other.id, text, numbers)


def _label(case: CaseNumbers) -> str:
    return str(case.label.path) if case.label is not None else case.id
