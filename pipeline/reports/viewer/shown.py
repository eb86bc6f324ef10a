"""What the viewer shows: cases, each a scan and the masks over it, as NIfTI files in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ....data.errors import ConfigError, ImageError
from ....data.geometry.affines import voxel_ml
from ....data.images.names import case_id
from ....data.images.reading import Image, read_image, read_labels
from ....data.label_tables.colors import colors_of
from ....data.label_tables.reading import TABLE_NAMES, TABLE_SUFFIXES, read_caret, read_table
from ..pictures.grey_window import grey_window
from ..pictures.labels import spoken
from ..pictures.scans import read_scan

_LOWEST = -(2**15)  # a value of label maps
_SHORT = 1 << 16  # values that are counted by a table
_CODE = 1  # of sform and qform: the scanner's coordinates


@dataclass(frozen=True)
class ShownMask:
    """A label map over a scan, or a map of numbers such as probabilities or attention.

    Args:
        name: what the reader calls it: prediction, truth, a file's name.
        path: any image file, of whole numbers for labels; another grid than the scan's will do.
        names: value -> label; None: as the file, or a table beside it, says.
        ml: label -> its volume where it is known; else that of its voxels here.
    """

    name: str
    path: Path
    names: Mapping[int, str] | None = None
    ml: Mapping[str, float] | None = None

    @cached_property
    def image(self) -> Image:
        """It, read once.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            return read_labels(self.path, lowest=_LOWEST)
        except ImageError:  # no whole numbers, or no image
            return read_image(self.path, non_finite="replace")

    @property
    def heat(self) -> list[float] | None:
        """Lowest and highest number of a map; None of labels."""
        array = np.asarray(self.image.array)
        if array.dtype.kind in "iu":
            return None
        low, high = float(array.min()), float(array.max())
        return [low, high] if low < high else [min(low, 0.0), max(high, 0.0) or 1.0]

    @cached_property
    def _numbered(self) -> tuple[list[int], list[int], NDArray[np.generic]]:
        """The labels' values, their voxels, and the map with 1, 2, ... in their place.

        NiiVue's table of colours is as long as the highest value, and a GPU's texture is not.
        """
        array = np.asarray(self.image.array)
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        if high - low < _SHORT:
            shifted = array if low >= 0 else array.astype(np.int64) - low
            counts = np.bincount(shifted.ravel(order="K"))
            offset = min(low, 0)
            values = [int(one) + offset for one in np.flatnonzero(counts) if int(one) + offset]
            voxels = [int(counts[value - offset]) for value in values]
            table = np.zeros(len(counts), np.uint16)
            table[np.array(values, np.int64) - offset] = np.arange(1, len(values) + 1)
            return values, voxels, table[shifted]
        found, counts = np.unique(array, return_counts=True)
        kept = found != 0
        place = np.zeros(len(found), np.uint16)
        place[kept] = np.arange(1, int(kept.sum()) + 1)
        numbered = place[np.searchsorted(found, array)]
        return [int(one) for one in found[kept]], [int(one) for one in counts[kept]], numbered

    def labels(self) -> list[dict[str, Any]]:
        """Number in `nifti`, value in the file, name, colour and ml of each label with a voxel."""
        if self.heat is not None:
            return []
        values, voxels, _ = self._numbered
        names = _names_of(self.path) if self.names is None else self.names
        told = {**names, **{value: names.get(value, f"label {value}") for value in values}}
        told.pop(0, None)
        colours = dict(zip(told, colors_of(["background", *told.values()])[1:], strict=True))
        each = voxel_ml(self.image.grid.affine)
        return [
            {
                "number": number,
                "value": value,
                "name": spoken(told[value]),
                "colour": list(colours[value]),
                "ml": round((self.ml or {}).get(told[value], count * each), 3),
            }
            for number, (value, count) in enumerate(zip(values, voxels, strict=True), start=1)
        ]

    def nifti(self) -> bytes:
        """Its voxels and its grid, as a NIfTI file; labels are numbered as `labels` says."""
        array = np.asarray(self.image.array) if self.heat is not None else self._numbered[2]
        if array.dtype == np.uint16 and array.size and array.max() < 256:
            array = array.astype(np.uint8)
        return _nifti(array, self.image.grid.affine)


@dataclass(frozen=True)
class ShownCase:
    """A scan and its masks.

    Args:
        name: of the case.
        scan: a path, or what cases.csv says in `input`: several channels, a DICOM series.
        masks: in the order in which they are drawn.
    """

    name: str
    scan: str
    masks: Sequence[ShownMask] = field(default_factory=tuple)

    @cached_property
    def image(self) -> Image:
        """The scan, read once.

        Raises:
            ImageError: it cannot be found or read.
        """
        return read_scan(self.scan)

    def told(self) -> dict[str, Any]:
        """What the page needs to know before it asks for voxels.

        Raises:
            ImageError: the scan or a mask cannot be read.
        """
        low, high = grey_window(self.image.array)
        return {
            "case": self.name,
            "window": [low, high],
            "centre": self._centre_mm(),
            "masks": [
                {"name": mask.name, "labels": mask.labels(), "heat": mask.heat}
                for mask in self.masks
            ],
        }

    def _centre_mm(self) -> list[float]:
        """Where to look first: in the middle of the first mask's labels, else of the scan."""
        grid, index = self.image.grid, (np.array(self.image.grid.shape) - 1) / 2
        for mask in (mask for mask in self.masks if mask.heat is None):
            marked = np.asarray(mask.image.array) > 0
            if marked.any():
                sums = [marked.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
                index = np.array([one @ np.arange(len(one)) / one.sum() for one in sums])
                grid = mask.image.grid
                break
        place = grid.affine[:3, :3] @ index + grid.affine[:3, 3]
        return [float(mm) for mm in place]

    def volume(self, number: int) -> bytes:
        """A NIfTI file: 0 is the scan, 1 the first mask.

        Raises:
            ConfigError: there is no such one.
        """
        if number == 0:
            array = np.asarray(self.image.array)
            whole = array.astype(np.int16)
            return _nifti(whole if np.array_equal(whole, array) else array, self.image.grid.affine)
        if not 0 < number <= len(self.masks):
            raise ConfigError(f"{self.name} has no volume {number}")
        return self.masks[number - 1].nifti()


def _nifti(array: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    made = nib.Nifti1Image(array, affine)
    made.header.set_xyzt_units("mm")
    made.set_sform(affine, _CODE)
    made.set_qform(affine, _CODE)
    content: bytes = made.to_bytes()
    return content


def _names_of(path: Path) -> dict[int, str]:
    """Value -> name, as the file says, or a table in its folder."""
    own = read_caret(path)
    if own:
        return own
    beside = [path.parent / name for name in TABLE_NAMES]
    if path.parent.name.startswith("labels"):  # labelsTr of a dataset
        beside.append(path.parent.parent / "dataset.json")
    beside += [path.parent / f"{name}{end}" for end in TABLE_SUFFIXES for name in _beside(path)]
    for table in beside:
        if found := read_table(table):
            return found
    return {}


def _beside(path: Path) -> tuple[str, str]:
    """Names that a table for this file may have."""
    return case_id(path), "labels"
