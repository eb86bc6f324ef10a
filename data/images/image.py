"""An image in memory: its voxels, where they lie, and where they came from."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..geometry.grids import Grid


@dataclass
class Image:
    """A scan or a label map, and where its voxels are.

    Args:
        array: (X, Y, Z), or (C, X, Y, Z) when more than one channel was asked for; memory order as
            in the file.
        grid: shape (X, Y, Z) and affine, RAS+ mm.
        path: the file it came from.
        header: the file's header when it is NIfTI, for writing results in the same grid; else None.
        notes: what was mended or guessed, in words; empty for a regular file.
    """

    array: NDArray[np.generic]
    grid: Grid
    path: Path
    header: nib.Nifti1Header | None
    notes: tuple[str, ...]
