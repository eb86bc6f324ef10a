"""The way back with several thresholds at once, to choose among them without the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .restoration import Restoration
from .slabs import ScoreSlabs, Slab


class TriedRestoration(Restoration):
    """A Restoration that tells, too, how many of other thresholds each voxel exceeds.

    Where the n-th of them, counted from 0 and from the lowest, would have put a label is exactly
    where its level is above n.

    Args:
        slabs, options: as for Restoration.
        tried: probabilities, ascending, each for all channels.
    """

    def __init__(self, slabs: ScoreSlabs, *, tried: Sequence[float], **options: Any) -> None:
        super().__init__(slabs, **options)
        self.tried = list(tried)
        self._options = {"regions": False, **options, "probabilities": ()}
        self._others: list[Restoration] = []

    def add(self, slab: Slab) -> None:
        """Decide what lies between this slab's rows and the last row before; see Restoration."""
        super().add(slab)
        if not self._others:
            for threshold in self.tried:
                each = {**self._options, "thresholds": [threshold] * slab.scores.shape[-1]}
                self._others.append(Restoration(self.slabs, **each))
        for one in self._others:
            one.add(slab)

    def finish(self) -> None:
        """Check that all rows came; see Restoration."""
        super().finish()
        for one in self._others:
            one.finish()

    def levels(self, number: int) -> NDArray[np.uint8]:
        """(X, Y, Z): how many of the tried thresholds region `number`, counted from 0, exceeds.

        A single channel is region 0.
        """
        total: Any = 0
        for one in self._others:
            total = total + ((one.labels >> number) & 1).astype(np.uint8)
        return np.asarray(total, dtype=np.uint8)
