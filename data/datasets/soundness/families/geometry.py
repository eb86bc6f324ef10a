"""Headers that place an image badly: its spacing, its two forms, no orientation."""

from __future__ import annotations

import numpy as np

from ....geometry.affines import in_words
from ....geometry.grids import Grid
from ..findings import Finding
from ..intensities import is_ct
from ..measures import CaseNumbers, FileNumbers

_SHORTEST_MM, _LONGEST_MM = 0.05, 25.0
_MOST_ANISOTROPIC = 30.0
_LONGEST_VOLUME_MM = 3000.0


def find(case: CaseNumbers) -> list[Finding]:
    """Findings about the geometry that a case's headers tell."""
    found = []
    label = [] if case.label is None else [case.label]
    for file in (*case.images, *label):
        if file.grid is None:
            continue
        found += _forms(case, file)
        if file is not case.label:
            found += _spacing(case, file, file.grid) + _none(case, file, file.grid)
    return found


def _forms(case: CaseNumbers, file: FileNumbers) -> list[Finding]:
    if not file.disagree_mm:
        return []
    text = (
        f"{file.path}: its sform and its qform lie {file.disagree_mm:.1f} mm apart; this program "
        "takes the sform, others the qform: set both to the right one"
    )
    return [Finding("forms-disagree", "warning", case.id, text, {"mm": file.disagree_mm})]


def _spacing(case: CaseNumbers, file: FileNumbers, grid: Grid) -> list[Finding]:
    size = grid.spacing
    extent = size * grid.shape
    voxels = " x ".join(f"{edge:.4g}" for edge in size)
    why = ""
    if size.min() < _SHORTEST_MM or size.max() > _LONGEST_MM:
        why = "no scanner makes such; the header is probably in another unit (cm or metres)"
    elif size.max() / size.min() > _MOST_ANISOTROPIC:
        why = "one edge is probably wrong, as when a slice's number is taken for its distance"
    elif extent.max() > _LONGEST_VOLUME_MM:
        why = f"so that the scan is {extent.max() / 1000:.1f} m long; one edge is probably wrong"
    if not why:
        return []
    text = f"{file.path}: its voxels are {voxels} mm, {why}; correct the header from the DICOM"
    return [Finding("spacing-absurd", "error", case.id, text, {"spacing_mm": size.tolist()})]


def _none(case: CaseNumbers, file: FileNumbers, grid: Grid) -> list[Finding]:
    if file.guessed:
        text = (
            f"{file.path}: its header gives voxel sizes but no orientation, so left and right are "
            "a guess; convert it again from DICOM, or copy the header of a file that has one"
        )
        return [Finding("orientation-guessed", "warning", case.id, text)]
    if np.allclose(np.abs(grid.affine), np.eye(4)) and is_ct(case.job.channels[0]):
        text = (
            f"{file.path}: its affine is the identity ({in_words(grid.affine)}), which no CT has: "
            "it was probably saved without its geometry; copy the header of the original"
        )
        return [Finding("image-no-geometry", "warning", case.id, text)]
    return []
