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
from ....data.images.reading import Image, read_image, read_labels
from ....data.label_tables.colors import colors_of
from ....data.label_tables.reading import TABLE_NAMES, TABLE_SUFFIXES, read_caret, read_table
from ..pictures.grey_window import grey_window
from ..pictures.labels import spoken
from ..pictures.scans import read_scan

_CODE = 1  # of sform and qform: the scanner's coordinates


@dataclass(frozen=True)
class ShownMask:
    """A label map over a scan, or a map of numbers such as probabilities or attention.

    Args:
        name: what the reader calls it: prediction, truth, a file's name.
        path: any image file, of whole numbers for labels; another grid than the scan's will do.
        names: value -> label; None: as the file, or a table beside it, says.
    """

    name: str
    path: Path
    names: Mapping[int, str] | None = None

    @cached_property
    def image(self) -> Image:
        """It, read once.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            return read_labels(self.path)
        except ImageError:  # no whole numbers, or no image
            return read_image(self.path, non_finite="replace")

    @property
    def heat(self) -> list[float] | None:
        """Lowest and highest number of a map; None of labels."""
        array = np.asarray(self.image.array)
        return None if array.dtype.kind in "iu" else [float(array.min()), float(array.max())]

    def labels(self) -> list[dict[str, Any]]:
        """Value, name, colour and ml of each label that has a voxel."""
        if self.heat is not None:
            return []
        array = self.image.array
        counts = np.bincount(np.asarray(array).ravel(order="K"))
        found = [value for value in np.flatnonzero(counts).tolist() if value]
        names = _names_of(self.path) if self.names is None else self.names
        told = {value: names.get(value, f"label {value}") for value in found}
        colours = dict(zip(told, colors_of(["background", *told.values()])[1:], strict=True))
        millilitres = voxel_ml(self.image.grid.affine)
        return [
            {
                "value": value,
                "name": spoken(name),
                "colour": list(colours[value]),
                "ml": round(float(counts[value]) * millilitres, 3),
            }
            for value, name in told.items()
        ]

    def nifti(self) -> bytes:
        """Its voxels and its grid, as a NIfTI file."""
        return _nifti(np.asarray(self.image.array), self.image.grid.affine)


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
    beside.append(path.parent.parent / "dataset.json")  # of labelsTr
    beside += [one for end in TABLE_SUFFIXES for one in sorted(path.parent.glob(f"*{end}"))]
    for table in beside:
        if found := read_table(table):
            return found
    return {}
