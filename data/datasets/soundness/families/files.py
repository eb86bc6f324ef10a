"""Files that cannot be read, and voxels that are no numbers."""

from __future__ import annotations

from ..findings import Finding
from ..measures import CaseNumbers


def find(case: CaseNumbers) -> list[Finding]:
    """Findings about a case's files as such."""
    found = []
    for kind, file in (
        *(("image-unreadable", image) for image in case.images),
        *((("label-unreadable", case.label),) if case.label is not None else ()),
    ):
        if file.error:
            found.append(Finding(kind, "error", case.id, f"{file.path}: {file.error}"))
    if case.label is not None and case.label.non_finite:
        bad, path = case.label.non_finite, case.label.path
        text = (
            f"{path}: {bad} voxels are NaN or infinite, as programs write that mask the background "
            "out; make them background"
        )
        found.append(Finding("label-not-finite", "error", case.id, text, {"voxels": bad}))
    for number, image in enumerate(case.images):
        bad = image.non_finite
        if bad:
            text = (
                f"{image.path}: {bad} voxels are NaN or infinite, as a division by zero or a "
                "resampling beyond the border leaves them; replace them by the lowest value"
            )
            numbers = {"voxels": bad, "file": number}
            found.append(Finding("image-not-finite", "error", case.id, text, numbers))
    return found
