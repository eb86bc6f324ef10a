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
    for image in case.images:
        bad = max((channel.non_finite for channel in image.channels), default=0)
        if bad:
            text = (
                f"{image.path}: {bad} voxels are NaN or infinite, as a division by zero or a "
                "resampling beyond the border leaves them; replace them by the lowest value"
            )
            found.append(Finding("image-not-finite", "error", case.id, text, {"voxels": bad}))
    return found
