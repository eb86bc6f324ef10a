"""The transform that replaces a network's scores by the label map in the scan's own grid."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ...data.geometry.grids import Grid
from ...data.images.reading import smallest_unsigned
from ..timing import stage
from .restoration import Restoration, as_slabs
from .slabs import ScoreSlabs


class RestoreLabelsd(MapTransform):
    """Replace scores on the network's grid by the label map in the scan's own grid.

    `data[key]`: logits (C, x, y, z), or ScoreSlabs, on the grid of `data[reference]`, a MetaTensor
    whose meta holds `original_affine` and `spatial_shape` of the scan (as LoadCased sets). The
    result is a MetaTensor (1, X, Y, Z), uint8 (uint16 above 255), on the CPU, with the scan's
    affine and its `filename_or_obj`; in data[f"{key}_margin"] is the mean margin at the labels'
    boundaries (see Restoration.boundary_margin), and in data[f"{key}_probabilities"] the wanted
    ones, name -> (X, Y, Z) uint8. Seconds are added to data["timings"]["restore"] if present,
    without those that slabs say they took ("forward").

    Args:
        label_values: value of each channel in the written map; None: the channel's index. A single
            channel has the two values of background and foreground.
        probabilities: name -> channel whose probability is wanted.
        max_slab_bytes: see restore_labels.

    Raises:
        ValueError: the scores' shape is not the reference's, or label_values has the wrong length.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        reference: str = "image",
        label_values: Sequence[int] | None = None,
        probabilities: Mapping[str, int] | None = None,
        max_slab_bytes: float = 256e6,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference = reference
        self.label_values = None if label_values is None else tuple(int(v) for v in label_values)
        self.probabilities = dict(probabilities or {})
        self.max_slab_bytes = max_slab_bytes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        image = result[self.reference]
        target = original_grid(image)
        for key in self.key_iterator(result):
            slabs = as_slabs(result[key])
            if slabs.shape != tuple(image.shape[1:]):
                raise ValueError(
                    f"{key!r} is {slabs.shape}, not on the grid of {self.reference!r}, "
                    f"{tuple(image.shape)}"
                )
            with stage(result, "restore"):
                restoration = Restoration(
                    slabs,
                    affine=image.affine,
                    target=target,
                    max_slab_bytes=self.max_slab_bytes,
                    probabilities=list(self.probabilities.values()),
                ).run()
                labels = self._to_values(restoration.labels, restoration.count)
            _move_seconds(result, slabs)
            meta = {
                "filename_or_obj": image.meta.get("filename_or_obj", ""),
                "original_affine": target.affine,
                "spatial_shape": np.asarray(target.shape),
            }
            affine = torch.as_tensor(target.affine)
            result[key] = MetaTensor(torch.from_numpy(labels)[None], affine=affine, meta=meta)
            result[f"{key}_margin"] = restoration.boundary_margin
            if self.probabilities:
                found = restoration.probabilities
                result[f"{key}_probabilities"] = {
                    name: found[channel] for name, channel in self.probabilities.items()
                }
        return result

    def _to_values(self, labels: np.ndarray, count: int) -> np.ndarray:
        if self.label_values is None or self.label_values == tuple(range(count)):
            return labels
        if len(self.label_values) != count:
            raise ValueError(
                f"label_values has {len(self.label_values)} values, the network has {count} labels"
            )
        return np.asarray(self.label_values, dtype=smallest_unsigned(max(self.label_values)))[
            labels
        ]


def original_grid(image: MetaTensor) -> Grid:
    """The grid of the scan as it was on disk, from the meta that LoadCased sets.

    Raises:
        ValueError: `original_affine` or `spatial_shape` is not in the meta.
    """
    try:
        affine, shape = image.meta["original_affine"], image.meta["spatial_shape"]
    except (KeyError, AttributeError) as error:
        raise ValueError(
            f"the image's meta lacks {error}: load it with LoadCased and keep its meta"
        ) from error
    x, y, z = (int(n) for n in shape)
    return Grid(
        (x, y, z), np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64).reshape(4, 4)
    )


def _move_seconds(item: Mapping[Hashable, Any], slabs: ScoreSlabs) -> None:
    """Seconds that the slabs took to be computed do not count as restoring."""
    timings, forward = item.get("timings"), slabs.facts.get("seconds", 0.0)
    if isinstance(timings, dict) and forward:
        timings["restore"] -= forward
        timings["forward"] = timings.get("forward", 0.0) + forward
