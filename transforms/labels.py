"""Label maps ready for training: checked, on the image's grid, in the network's channels."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.datasets.label_map import LabelMap
from ..data.datasets.label_values import map_values
from ..data.datasets.placement import misplaced
from ..data.geometry.grids import same_grid
from ..data.geometry.label_grids import nearest_labels
from ..data.geometry.placement import why_elsewhere
from .resample import grid_of, placed_on


class AlignLabeld(MapTransform):
    """Bring label maps onto the grid of `data[reference]` by nearest neighbour.

    The two affines say where; outside the label it is 0. Both are MetaTensors (C, x, y, z). A label
    already on that grid (0.01 mm) is left as it is. Another one is looked up straight in its own
    grid, whatever its orientation, by the `nearest_labels` that evaluation measures with, and
    becomes float32. The label keeps its meta. MONAI's ResampleToMatchd would overwrite the label's
    meta by the image's, smear labels beyond their border, and lose every second row of a label
    that lies half a voxel off.
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
        channels = [
            nearest_labels(np.asarray(one), source, wanted) for one in labels.as_tensor().cpu()
        ]
        moved = np.ascontiguousarray(np.stack(channels), dtype=np.float32)
        return placed_on(torch.from_numpy(moved), wanted, like=labels)


class CheckPlacementd(MapTransform):
    """Refuse label maps that do not lie on their image `data[reference]`; nothing is changed.

    Both are MetaTensors (C, x, y, z) in the grids of their files, as LoadCased leaves them. A label
    map may be cropped, padded, of another orientation or of other voxels; see
    `gridgate.data.geometry.placement.why_elsewhere`.
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

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same items in a new dict.

        Raises:
            DatasetError: names both files, the distance in mm and a likely cause.
        """
        result = dict(data)
        image = result[self.reference]
        for key in self.key_iterator(result):
            why = why_elsewhere(grid_of(image), grid_of(result[key]))
            if why is not None:
                raise misplaced(_case(data), _source(image), _source(result[key]), why)
        return result


class MapLabelsd(MapTransform):
    """Turn a dataset's label values into the network's channels: label_map[value] -> channel.

    Several values may become one (pancreas and the tumour in it). The labels keep their type where
    it holds the channels, and a map that changes nothing costs a count of the values only. Voxels
    to ignore become -1, of which no later step makes anything else. Where `channels` are told,
    data["annotated"] says which of them the case has annotated, (channels,) bool: all but those
    that a label in data["unannotated"] counts to.

    Args:
        label_map: of `gridgate.data.datasets.label_map.label_map`. Where it is empty, the values
            are channels already. Of regions the result is the bits of those that hold a voxel.
        channels: how many labels there are, the background with them; checked where label_map is
            empty.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        label_map: Mapping[int, int],
        channels: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_map = LabelMap.of(label_map)
        self.told = repr(self.label_map)  # all of it, for who keys stored cases by their settings
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are.

        Raises:
            DatasetError: a label map holds a value that is not in the map, or a label that the case
                does not declare as annotated.
        """
        result = dict(data)
        unannotated = tuple(data.get("unannotated", ()))
        for key in self.key_iterator(result):
            labels = result[key]
            array = np.asarray(torch.as_tensor(labels))
            mapped = map_values(
                array,
                self.label_map,
                case=_case(data),
                source=_source(labels),
                channels=self.channels,
                unannotated=unannotated,
            )
            if mapped is not array:
                if mapped.dtype == np.uint16:  # of many regions; torch does little with it
                    mapped = mapped.astype(np.int32)
                tensor = torch.from_numpy(mapped)
                if isinstance(labels, MetaTensor):
                    tensor = MetaTensor(tensor, affine=labels.affine, meta=dict(labels.meta))
                result[key] = tensor
        if self.channels is not None:
            annotated = self.label_map.annotated_channels(unannotated, self.channels)
            result["annotated"] = torch.tensor(annotated)
            result.pop("unannotated", None)  # names, of which no batch can be made
        return result


class ClassIndicesd(MapTransform):
    """List where each class is, once, so that drawing a window in each epoch costs nothing.

    Adds data[f"{key}_class_indices"]: a list of label_count int64 tensors, flat (C-order) indices
    of the voxels of that class in data[key] (1, x, y, z), at most `max_samples_per_class`, spread
    evenly. It changes nothing that is there (`only_adds`). Unlike MONAI's ClassesToIndicesd it
    reads the volume once, not once per class, and keeps no copy of the meta with each list. Voxels
    to ignore (below 0) are in none.

    Args:
        regions: labels are the bits of regions, which overlap: class 1 is bit 0, and so on.
    """

    only_adds = True

    def __init__(
        self,
        keys: KeysCollection = "label",
        *,
        label_count: int,
        max_samples_per_class: int = 10_000,
        regions: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_count = label_count
        self.regions = regions
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
        if self.regions:
            foreground, values = foreground[values > 0], values[values > 0]
        for label in range(1, self.label_count):
            held = (values >> (label - 1)) & 1 == 1 if self.regions else values == label
            lists.append(self._thin(foreground[held]))
        return [torch.from_numpy(indices) for indices in lists]

    def _thin(self, indices: np.ndarray) -> np.ndarray:
        if len(indices) <= self.max_samples_per_class:
            return indices
        return indices[
            np.linspace(0, len(indices) - 1, self.max_samples_per_class).round().astype(np.int64)
        ]


def _case(data: Mapping[Hashable, Any]) -> str:
    return str(data.get("id", "without an id"))


def _source(tensor: Any) -> str:
    return str(getattr(tensor, "meta", {}).get("filename_or_obj", "a label map in memory"))
