"""Writing label maps beside the scan's own header."""

import zlib
from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..data.errors import GridgateError, ImageError
from ..data.geometry import Grid
from ..data.images import Image, case_id, write_labels
from ..data.nifti import read_header
from .restore import original_grid
from .timing import stage


class WriteLabelsd(MapTransform):
    """Write label maps (1, X, Y, Z) in the scan's own grid as <output_dir>/<case id>.nii.gz.

    The case id is data[id_key] if the item has one, else the scan's file name without its suffix. For a NIfTI
    scan only its header is read again, and sform, qform, both codes and units are kept. The path is left in
    data[f"{key}_path"]; seconds are added to data["timings"]["write"] if that dict is present.

    Args:
        output_dir: made if it does not exist.
        postfix: put between the case id and the suffix, e.g. "_seg".

    Raises:
        OutputError: the file cannot be written, or the map is not in the scan's grid.
        ImageError: the scan's header cannot be read again.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        output_dir: str | PathLike[str],
        postfix: str = "",
        id_key: str = "id",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.postfix = postfix
        self.id_key = id_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "write"):
            for key in self.key_iterator(result):
                labels = result[key]
                scan = Path(str(labels.meta["filename_or_obj"]))
                name = result.get(self.id_key)
                name = name if isinstance(name, str) and name else case_id(scan)
                path = self.output_dir / f"{name}{self.postfix}.nii.gz"
                array = np.asarray(torch.as_tensor(labels).cpu())[0]
                write_labels(path, array, like=_header_of(scan, original_grid(labels)))
                result[f"{key}_path"] = str(path)
        return result


def _header_of(path: Path, grid: Grid) -> Image:
    """An Image without its voxels: all that write_labels looks at."""
    header = None
    if path.name.lower().endswith((".nii", ".nii.gz")):
        try:
            header = read_header(path)
        except (GridgateError, OSError, EOFError, zlib.error) as error:
            raise ImageError(
                f"{path}: its header could be read once, but not again ({error}); is it still there?"
            ) from error
    return Image(array=np.empty((0, 0, 0), dtype=np.uint8), grid=grid, path=path, header=header, notes=())
