"""Post-processing of label maps: largest component of a label, holes of a label."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours


class _LabelMapd(MapTransform):
    """Run `_process` on each label's bounding box in a (1, X, Y, Z) label map; the input is not changed."""

    def __init__(
        self, keys: KeysCollection, *, labels: Sequence[int] | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = None if labels is None else tuple(int(label) for label in labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            labels = result[key]
            changed = labels.clone()
            array = np.asarray(torch.as_tensor(labels).cpu()).copy()[0]
            as_index = array if np.issubdtype(array.dtype, np.integer) else array.astype(np.int32)
            for label, box in enumerate(ndimage.find_objects(as_index), start=1):
                if box is not None and (self.labels is None or label in self.labels):
                    self._process(array[box], label)
            changed.copy_(torch.from_numpy(array)[None].to(labels.device))
            result[key] = changed
        return result

    def _process(self, part: np.ndarray, label: int) -> None:
        raise NotImplementedError


class LargestComponentd(_LabelMapd):
    """Keep the largest connected component (26 neighbours) of each label; the others become background.

    Args:
        labels: the label values this is done to; None: each of them. scipy is used, on the label's bounding
            box: MONAI's KeepLargestConnectedComponentd needs scikit-image and works on the whole volume.
    """

    def _process(self, part: np.ndarray, label: int) -> None:
        mask = part == label
        components, count = ndimage.label(mask, structure=_TOUCHING)
        if count > 1:
            sizes = np.bincount(components.ravel())
            sizes[0] = 0
            part[mask & (components != sizes.argmax())] = 0


class FillHolesd(_LabelMapd):
    """Give a label the background that it encloses (no way out by 6 neighbours); other labels inside stay.

    Args:
        labels: the label values this is done to; None: each of them, the smaller value first.
    """

    def _process(self, part: np.ndarray, label: int) -> None:
        filled = ndimage.binary_fill_holes(part == label)
        part[filled & (part == 0)] = label
