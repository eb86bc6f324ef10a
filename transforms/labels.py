"""Label maps ready for training: on the image's grid, consecutive, with a list of where each class is."""

from collections.abc import Hashable, Mapping
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapLabelValue, MapTransform, SpatialResample

from ..data.geometry.grids import same_grid
from .resample import grid_of, nearest_axes, parallel_axes, placed_on


class AlignLabeld(MapTransform):
    """Bring label maps onto the grid of `data[reference]` by nearest neighbour.

    The two affines say where; outside the label it is 0. Both are MetaTensors (C, x, y, z). A label
    already on that grid (0.01 mm) is left as it is; another one is looked up straight in its own
    grid, whatever its orientation, and becomes float32. The label keeps its meta. MONAI's
    ResampleToMatchd would overwrite the label's meta by the image's and smear labels beyond their
    border.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        reference: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference = reference
        self.general = SpatialResample(mode="nearest", padding_mode="zeros", align_corners=False)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        image = result[self.reference]
        for key in self.key_iterator(result):
            result[key] = self._aligned(result[key], image)
        return result

    def _aligned(self, labels: MetaTensor, image: MetaTensor) -> MetaTensor:
        source, wanted = grid_of(labels), grid_of(image)
        if same_grid(source, wanted):
            return labels
        axes = parallel_axes(source, wanted)
        if axes is None:
            return cast(
                MetaTensor,
                self.general(labels, dst_affine=image.affine, spatial_size=image.shape[1:]),
            )
        return placed_on(nearest_axes(labels.as_tensor(), axes).float(), wanted, like=labels)


class MapLabelsd(MapTransform):
    """Turn a dataset's label values into the network's channel indices: label_map[value] -> index.

    Values that the map does not name become 0 (background): a plan may train on some of a dataset's
    labels only, and several values may become one (pancreas and the tumour in it). A map that
    changes nothing costs nothing.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        label_map: Mapping[int, int],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_map = {int(value): int(index) for value, index in label_map.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the item with its label maps in channel indices."""
        result = dict(data)
        for key in self.key_iterator(result):
            present = [int(value) for value in torch.unique(torch.as_tensor(result[key]))]
            changes = {value: self.label_map.get(value, 0) for value in present}
            changes = {value: index for value, index in changes.items() if value != index}
            if changes:
                mapper = MapLabelValue(list(changes), list(changes.values()), dtype=np.float32)
                result[key] = mapper(result[key])
        return result


class ClassIndicesd(MapTransform):
    """List where each class is, once, so that drawing a window in each epoch costs nothing.

    Adds data[f"{key}_class_indices"]: a list of label_count int64 tensors, flat (C-order) indices
    of the voxels of that class in data[key] (1, x, y, z), at most `max_samples_per_class`, spread
    evenly. Unlike MONAI's ClassesToIndicesd it reads the volume once, not once a class, and keeps
    no copy of the meta with each list.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        label_count: int,
        max_samples_per_class: int = 10_000,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_count = label_count
        self.max_samples_per_class = max_samples_per_class

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[f"{key}_class_indices"] = self._indices(np.asarray(torch.as_tensor(result[key])))
        return result

    def _indices(self, labels: np.ndarray) -> list[torch.Tensor]:
        flat = labels.astype(np.int32).ravel()
        foreground = np.flatnonzero(flat)
        values = flat[foreground]
        lists = [self._thin(np.flatnonzero(flat == 0))]
        lists += [self._thin(foreground[values == label]) for label in range(1, self.label_count)]
        return [torch.from_numpy(indices) for indices in lists]

    def _thin(self, indices: np.ndarray) -> np.ndarray:
        if len(indices) <= self.max_samples_per_class:
            return indices
        return indices[
            np.linspace(0, len(indices) - 1, self.max_samples_per_class).round().astype(np.int64)
        ]
