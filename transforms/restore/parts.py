"""One label map of several networks' label maps: later ones over earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from ...data.geometry.grids import Grid
from ...data.images.reading import smallest_unsigned
from .box import RestoreBox
from .restoration import Restoration


class MergedParts:
    """The labels of several networks in the scan's own grid, one network after another.

    Where two networks find something, the later one's label stays.

    Args:
        values: of each network, of each of its channels the label that it is in the whole.
        whole: the scan's grid.
    """

    def __init__(self, values: Sequence[Sequence[int]], whole: Grid) -> None:
        highest = max(max(channels) for channels in values)
        self.tables = [np.asarray(channels, smallest_unsigned(highest)) for channels in values]
        self.whole = whole
        self.labels: NDArray[np.unsignedinteger] = np.zeros(
            whole.shape, dtype=self.tables[0].dtype, order="F"
        )
        self.boundary_margin: float | None = None
        """That of the network that is least sure."""

    def add(self, number: int, restoration: Restoration, image: MetaTensor) -> None:
        """Take the labels of a network; its image says to which box of the scan they belong."""
        found = np.take(self.tables[number], restoration.labels)
        part = self.labels[RestoreBox.of(image.meta, self.whole).box]
        np.copyto(part, found, where=found != 0)
        known = [self.boundary_margin, restoration.boundary_margin]
        self.boundary_margin = min((one for one in known if one is not None), default=None)
