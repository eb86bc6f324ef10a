"""Slices for display: a volume turned to the radiologist's view by its affine, in mm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ....data.geometry.affines import Affine, spacing
from ....data.geometry.foreground import cross_sections
from ....data.geometry.grids import same_grid
from ....data.geometry.label_grids import nearest_labels
from ....data.images.reading import Image, read_labels

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

# Axis of a RAS+ array across which a plane cuts, and the axes along a picture's columns and rows.
CUT: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
_COLUMNS: dict[Plane, int] = {"axial": 0, "coronal": 0, "sagittal": 1}
_ROWS: dict[Plane, int] = {"axial": 1, "coronal": 2, "sagittal": 2}

EDGES: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""What is at a picture's left, right, top and bottom edge."""


@dataclass(frozen=True, eq=False)
class View:
    """A volume with its axes in the order and sense of RAS+, to cut pictures from.

    Args:
        array: (X, Y, Z), indices growing to the patient's right, front and head, as nearly as its
            axes allow:
            an oblique volume is shown along its own axes, as a viewer without reformatting does.
        spacing_mm: along these three axes.
    """

    array: NDArray[np.generic]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, array: NDArray[np.generic], affine: Affine) -> View:
        """The view of an array (X, Y, Z) with any affine (4, 4) to RAS+ mm, not interpolated."""
        order = nib.orientations.io_orientation(affine)
        turned = nib.orientations.apply_orientation(array, order)
        moved = affine @ nib.orientations.inv_ornt_aff(order, array.shape)
        x, y, z = spacing(moved)
        return cls(turned, (float(x), float(y), float(z)))

    @cached_property
    def cross_sections(self) -> list[NDArray[np.int64]]:
        """Voxels of each label in each slice, see there; looked at once for all planes."""
        return cross_sections(self.array)

    def slices(self, plane: Plane) -> int:
        """How many slices the plane can cut."""
        return int(self.array.shape[CUT[plane]])

    def picture(self, plane: Plane, index: int) -> NDArray[np.generic]:
        """A slice as rows and columns, the first row on top.

        Patient's right is at the viewer's left (axial, coronal), the front on top (axial) or at the
        left (sagittal), the head on top (coronal, sagittal).
        """
        cut = np.moveaxis(self.array, CUT[plane], 0)[index]  # a view; np.take copies the volume
        return cut[::-1, ::-1].T

    def extent_mm(self, plane: Plane) -> tuple[float, float]:
        """Width and height of a picture in mm."""
        columns, rows = _COLUMNS[plane], _ROWS[plane]
        return (
            self.array.shape[columns] * self.spacing_mm[columns],
            self.array.shape[rows] * self.spacing_mm[rows],
        )


def image_view(image: Image) -> View:
    """The view of a scan."""
    return View.of(image.array, image.grid.affine)


def labels_view(path: str | Path, image: Image) -> View:
    """The view of a label file on a scan's grid, by nearest neighbour where the two grids differ.

    Raises:
        ImageError: the file cannot be read.
    """
    found = read_labels(path)
    same = same_grid(found.grid, image.grid)
    array = found.array if same else nearest_labels(found.array, found.grid, image.grid)
    return View.of(array, image.grid.affine)


def telling_slice(labels: View, plane: Plane) -> int:
    """The slice that shows most of all labels.

    Each label counts by its share of its own largest cross-section.
    A sum of areas would always choose the liver's largest slice. The middle slice where nothing is
    labelled.
    """
    area = labels.cross_sections[CUT[plane]]
    if not len(area):
        return labels.slices(plane) // 2
    return int((area / area.max(axis=1, keepdims=True)).sum(axis=0).argmax())
