"""From paths to MetaTensors in the files' own grids."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from ..data.errors import ImageError
from ..data.geometry import same_grid
from ..data.images import Image, read_image, read_labels
from .timing import stage

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


class LoadCased(MapTransform):
    """Read a case: each key's path, or list of paths (a file a channel), becomes a MetaTensor.

    float32, (C, X, Y, Z). Affines are voxel index to RAS+ mm. The meta holds `affine`, `original_affine` (4,
    4) float64, `spatial_shape` (3,) of the file, `filename_or_obj` (the first path, str) and `notes` (str:
    what was odd about the files, "" mostly). Keys in `label_keys` are read as label maps: whole numbers >= 0,
    one channel. Seconds are added to data["timings"]["read"] if that dict is present.

    Args:
        channels: channels of each image; with a list of paths, one for each channel.
        non_finite: "error" or "replace": what to do with NaN and infinite voxels, see data.images.read_image.

    Raises:
        ImageError: a file cannot be read or is not usable; the files of a list are on different grids, or not
        `channels`.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        *,
        channels: int = 1,
        label_keys: KeysCollection = ("label",),
        non_finite: str = "error",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channels = channels
        self.label_keys = (label_keys,) if isinstance(label_keys, str) else tuple(label_keys)  # type: ignore[arg-type]
        self.non_finite = non_finite

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "read"):
            for key in self.key_iterator(result):
                if key in self.label_keys:
                    images = [read_labels(path) for path in _as_paths(result[key])]
                else:
                    images = self._read_image(_as_paths(result[key]))
                result[key] = _to_tensor(images)
        return result

    def _read_image(self, paths: list[Path]) -> list[Image]:
        if len(paths) == 1:
            return [read_image(paths[0], channels=self.channels, non_finite=self.non_finite)]  # type: ignore[arg-type]
        if len(paths) != self.channels:
            raise ImageError(
                f"{paths[0]}: the case has {len(paths)} files, "
                f"but {self.channels} channels are wanted; give a file for each"
            )
        return [read_image(path, non_finite=self.non_finite) for path in paths]  # type: ignore[arg-type]


def _as_paths(value: Paths) -> list[Path]:
    if isinstance(value, str | PathLike):
        return [Path(value)]
    if isinstance(value, Sequence) and value and all(isinstance(path, str | PathLike) for path in value):
        return [Path(path) for path in value]
    raise TypeError(f"a path or a list of paths is wanted, got {type(value).__name__}: {str(value)[:80]}")


def _to_tensor(images: Sequence[Image]) -> MetaTensor:
    first = images[0]
    for other in images[1:]:
        if not same_grid(first.grid, other.grid):
            raise ImageError(
                f"{other.path}: its grid (shape {other.grid.shape}, spacing "
                f"{np.round(other.grid.spacing, 4)} mm, {other.grid.orientation}) "
                f"is not that of {first.path} ({first.grid.shape}, "
                f"{np.round(first.grid.spacing, 4)} mm, {first.grid.orientation}); "
                "resample the channels of a case to one grid"
            )
    arrays = [image.array if image.array.ndim == 4 else image.array[None] for image in images]
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    affine = np.array(first.grid.affine, dtype=np.float64)
    meta = {
        "original_affine": affine,
        "spatial_shape": np.asarray(first.grid.shape),
        "filename_or_obj": str(first.path),
        # One string, not a tuple: MONAI cannot collate tuples that differ in length from case to case.
        "notes": "; ".join(note for image in images for note in image.notes),
        "space": SpaceKeys.RAS,
    }
    tensor = torch.from_numpy(np.asarray(array, dtype=np.float32))
    return MetaTensor(tensor, affine=torch.from_numpy(affine.copy()), meta=meta)
