"""The files of a case, one per channel, lie on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ImageError
from ..geometry.grids import Grid, same_grid


def check_channels(channels: Sequence[tuple[object, Grid]]) -> None:
    """Refuse channels of which one does not lie on the first, voxel on voxel.

    Args:
        channels: what each was read from, and its grid.

    Raises:
        ImageError: the text names both files.
    """
    if not channels:
        return
    first, grid = channels[0]
    for path, other in channels[1:]:
        if not same_grid(grid, other):
            raise ImageError(
                f"{path}: its grid (shape {other.shape}, spacing {np.round(other.spacing, 4)} mm, "
                f"{other.orientation}) is not that of {first} ({grid.shape}, "
                f"{np.round(grid.spacing, 4)} mm, {grid.orientation}); "
                "resample the channels of a case to one grid"
            )
