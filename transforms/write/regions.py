"""Writing a mask per region beside the one map of them."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.images.image import Image
from ...data.images.writing import write_labels
from ...data.label_tables.table import LabelTable
from ..restore.regions import region_mask
from .per_label import LabelFilesd


class WriteRegionsd(LabelFilesd):
    """Write each region of data[f"{key}_bits"] as a mask of its own: 1 inside, 0 outside.

    `labels` are the names of the regions, in the order of their bits; see LabelFilesd.
    """

    folder = "regions"

    def arrays(self, item: Mapping[Hashable, Any]) -> Iterator[tuple[str, Any]]:
        """Regions and their masks, one after the other."""
        bits = np.asarray(item[f"{self.key}_bits"])[0]
        for number, label in enumerate(self.labels):
            yield label, region_mask(bits, number)

    def write(
        self, path: Path, array: Any, label: str, *, like: Image, save: Callable[..., Any]
    ) -> None:
        """Write one mask."""
        table = LabelTable.of(["background", label])
        write_labels(path, array, like=like, table=table, save=save)
