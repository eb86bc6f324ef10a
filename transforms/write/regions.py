"""Writing a mask per region beside the one map of them."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from ...data.images.reading import write_labels
from ...data.label_tables.table import LabelTable
from ...data.output_folder import OutputFolder
from ..restore.regions import region_mask
from ..timing import stage
from .labels import scan_of
from .writer import Writerd, case_name

FOLDER = "regions"
"""The folder below the masks."""


class WriteRegionsd(Writerd):
    """Write each region of data[f"{key}_bits"] as a mask of its own, in the scan's own grid.

    As <output_dir>/regions/<region>/<case id>.nii.gz, 1 inside and 0 outside. Seconds are added to
    data["timings"]["write"].

    Args:
        output_dir: see OutputFolder for which files may be replaced.
        labels: names of the regions, in the order of their bits.

    Raises:
        OutputError: a file cannot be written, is in the place of one that Gridgate did not write,
            or the id or a region leads out of the folder.
    """

    def __init__(
        self,
        key: str = "pred",
        *,
        output_dir: str | PathLike[str],
        labels: Sequence[str],
        id_key: str = "id",
    ) -> None:
        super().__init__(key)
        self.key, self.id_key = key, id_key
        self.output = OutputFolder(output_dir)
        self.labels = list(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is; the files are written."""
        result = dict(data)
        with stage(result, "write"):
            like = scan_of(result, result[self.key])
            name = case_name(result, self.id_key, like.path)
            bits = np.asarray(result[f"{self.key}_bits"])[0]
            for number, label in enumerate(self.labels if name else ()):
                relative = region_file(label, name)
                write_labels(
                    self.output.path(relative),
                    region_mask(bits, number),
                    like=like,
                    table=LabelTable.of(["background", label]),
                    save=self.output.saver(relative),
                )
        return result

    def files(self, case_id: str, image: Any = None) -> list[str]:
        """The files of a case, as paths in the output folder."""
        return [region_file(label, case_id) for label in self.labels]


def region_file(label: str, case_id: str) -> str:
    """Where the mask of a region is, in the output folder."""
    return f"{FOLDER}/{label}/{case_id}.nii.gz"
