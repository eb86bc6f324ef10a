"""Label maps that do not lie on their image's grid: where instead, in mm, and why."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....geometry.grids import Grid, same_grid, voxel_map
from ....geometry.placement import corner_shifts, misplacement
from ..findings import Finding
from ..measures import CaseNumbers, FileNumbers

_KINDS = {
    "no-geometry": "label-no-geometry",
    "image-no-geometry": "image-no-geometry",
    "mirrored": "label-mirrored",
    "transposed": "label-transposed",
    "spacing": "label-spacing",
    "shifted": "label-shifted",
    "turned": "label-turned",
    "elsewhere": "label-elsewhere",
}
_VOXEL = 0.02  # a shift from here on is no rounding
_HALF = 0.1  # of a voxel: so near to a half


def find(case: CaseNumbers) -> list[Finding]:
    """Findings about where a case's label map, and its further channels, lie."""
    grid, label = case.grid, case.label
    if grid is None:
        return []
    found = []
    for image in case.images[1:]:
        if image.grid is not None and not same_grid(grid, image.grid, 0.1):
            text = (
                f"{image.path}: this channel does not lie on the first, {case.images[0].path}; "
                "resample it to the first channel's grid"
            )
            found.append(Finding("channels-differ", "error", case.id, text))
    if label is None or label.grid is None:
        return found
    return found + _label(case, grid, label, label.grid)


def _label(case: CaseNumbers, grid: Grid, label: FileNumbers, own: Grid) -> list[Finding]:
    image = case.images[0]
    wrong = misplacement(grid, own)
    shifts = corner_shifts(grid, own)
    half = None if shifts is None else _half_voxel(case, grid, label, shifts, wrong is not None)
    if half is not None:
        return [half]
    on = f"{label.path}: it does not lie on its image {image.path}"
    if wrong is None:
        return _nearly(case, grid, label, own)
    numbers = {"mm": wrong.apart_mm, "overlap": wrong.overlap}
    for file, form in ((label, label.other), (image, image.other)):
        others = (grid, form) if file is label else (form, own)
        if form is not None and others[0] and others[1] and misplacement(*others) is None:
            text = (
                f"{on}: their centres are {wrong.apart_mm:.1f} mm apart by the sform, but it "
                f"lies on it by the qform of {file.path.name}: sform against qform; set both forms "
                f"of the {'label' if file is label else 'image'} to the qform"
            )
            kind = "label-form" if file is label else "image-form"
            return [Finding(kind, "error", case.id, text, numbers)]
    if wrong.cause == "mirrored" and corner_shifts(grid, own) is None:
        kind = "label-elsewhere"
    else:
        kind = _KINDS[wrong.cause]
    return [Finding(kind, "error", case.id, f"{on}: {wrong.text}", numbers)]


def _nearly(case: CaseNumbers, grid: Grid, label: FileNumbers, own: Grid) -> list[Finding]:
    """Label maps that can be taken as they are, and are not on the image's very voxels."""
    shifts = corner_shifts(grid, own)
    if shifts is not None:
        return _shifted(case, grid, label, shifts)
    matrix = voxel_map(grid, own)
    whole = np.rint(matrix)
    steps = np.abs(matrix[:3, :3] - whole[:3, :3]) * np.array(own.shape)
    numbers = {"image_shape": list(grid.shape), "label_shape": list(own.shape)}
    shapes = f"shapes {grid.shape} and {own.shape}"
    if np.abs(whole[:3, :3]).sum() != 3:
        steps = np.full_like(steps, np.inf)  # larger voxels, or smaller ones
    if steps.max() < _VOXEL * 5 and np.abs(matrix[:3, 3] - whole[:3, 3]).max() < 5 * _VOXEL:
        text = (
            f"{label.path}: its extent is cropped or padded, on the voxels of the image "
            f"({shapes}); what it does not cover counts as background"
        )
        return [Finding("label-cropped", "note", case.id, text, numbers)]
    if steps.max() < _VOXEL * 5:
        off = np.abs(matrix[:3, 3] - whole[:3, 3]) * grid.spacing
        text = (
            f"{label.path}: its extent is cropped, and its voxels lie {off.max():.2f} mm off those "
            f"of the image ({shapes}); resample it to the image's grid"
        )
        return [Finding("label-resampled", "warning", case.id, text, numbers)]
    text = (
        f"{label.path}: it has other voxels than its image ({shapes}, "
        f"{_mm(grid)} and {_mm(own)} mm), in the same place; it is resampled by nearest neighbour "
        "each time it is read: do so once"
    )
    return [Finding("label-resampled", "note", case.id, text, numbers)]


def _shifted(
    case: CaseNumbers, grid: Grid, label: FileNumbers, shifts: NDArray[np.float64]
) -> list[Finding]:
    most = float(np.abs(shifts).max())
    if most < _VOXEL:
        return []
    mm = float(np.linalg.norm(shifts @ grid.affine[:3, :3].T, axis=1).max())
    numbers = {"mm": mm, "voxels": most}
    text = (
        f"{label.path}: its affine differs from its image's by up to {mm:.2f} mm ({most:.2f} "
        "voxels) with one shape, as after rounding or editing a header; copy the image's affine"
    )
    return [Finding("label-nearly", "warning", case.id, text, numbers)]


def _half_voxel(
    case: CaseNumbers, grid: Grid, label: FileNumbers, shifts: NDArray[np.float64], far: bool
) -> Finding | None:
    """The finding for a label map that lies half a voxel off; None for any other.

    Args:
        case, grid, label: as of `_label`.
        shifts: of `corner_shifts`.
        far: it is just too far off to be taken as it is.
    """
    most = float(np.abs(shifts).max())
    if abs(most - 0.5) >= _HALF or np.ptp(shifts, axis=0).max() >= _HALF:
        return None
    mm = float(np.linalg.norm(shifts @ grid.affine[:3, :3].T, axis=1).max())
    mean = np.abs(shifts.mean(axis=0))
    axes = ", ".join(name for name, at in zip("ijk", mean, strict=True) if at > 0.4)
    text = (
        f"{label.path}: it lies half a voxel off its image ({mm:.2f} mm, along {axes}), as when "
        "one program counts from a voxel's corner and another from its centre; copy the image's "
        "affine"
    )
    numbers = {"mm": mm, "voxels": most}
    return Finding("label-half-voxel", "error" if far else "warning", case.id, text, numbers)


def _mm(grid: Grid) -> str:
    return " x ".join(f"{size:.4g}" for size in grid.spacing)
