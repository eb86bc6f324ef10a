"""The transform that replaces a network's scores by the label map in the scan's own grid."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ...data.errors import ConfigError
from ...data.geometry.grids import Grid
from ..timing import stage
from .box import RestoreBox, nearest_axis
from .parts import MergedParts
from .regions import written_map
from .restoration import Restoration, as_slabs
from .slabs import ScoreSlabs
from .tried import TriedRestoration


class RestoreLabelsd(MapTransform):
    """Replace scores on the network's grid by the label map in the scan's own grid.

    `data[key]`: logits (C, x, y, z), or ScoreSlabs, on the grid of `data[reference]`, a MetaTensor
    whose meta holds `original_affine` and `spatial_shape` of the scan (as LoadCased sets). The
    result is a MetaTensor (1, X, Y, Z) of channel indices, uint8 (uint16 above 255), on the CPU,
    with the scan's affine, `filename_or_obj` and `nifti_header`; in data[f"{key}_margin"] is the
    mean margin at the labels' boundaries (see Restoration.boundary_margin), in
    data[f"{key}_probabilities"] the wanted ones, name -> (X, Y, Z) uint8, and in
    data[f"{key}_levels"] those of tried thresholds. Seconds are added to data["timings"]["restore"]
    if present.

    Whoever computes the slabs can do these steps apart: `begin`, `Restoration.add` for each slab,
    `end`.

    Of regions, which overlap, data[key] is the one map of them, see `regions.written_map`, and
    data[f"{key}_bits"] (1, X, Y, Z) which of them hold each voxel; what changes regions works on
    these, and then calls `flatten`.

    Where the meta says so (see `box`), scores are brought back to a box of the scan alone, and what
    lies around it is background.

    Args:
        probabilities: name -> channel whose probability is wanted.
        region_values: of a network with a channel per region: the value each is written as.
        thresholds: of regions, or of a network of one channel, the probability above which a voxel
            is each; None is a half.
        tried, labels: thresholds, see TriedRestoration; names of the labels whose levels are
            wanted, of each region or of the one channel.
        part_values: of a model of several networks, see MergedParts.
        of_probabilities: scores in a tensor are probabilities, not logits; slabs say it themselves.
        max_slab_bytes: see restore_labels.

    Raises:
        ConfigError: probabilities or tried thresholds of several networks.
        ValueError: the scores' shape is not the reference's.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        reference: str = "image",
        probabilities: Mapping[str, int] | None = None,
        of_probabilities: bool = False,
        region_values: Sequence[int] | None = None,
        thresholds: Sequence[float] | None = None,
        tried: Sequence[float] = (),
        labels: Sequence[str] = (),
        part_values: Sequence[Sequence[int]] | None = None,
        max_slab_bytes: float = 256e6,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference = reference
        self.probabilities = dict(probabilities or {})
        self.of_probabilities = of_probabilities
        self.region_values = None if region_values is None else list(region_values)
        self.thresholds = None if thresholds is None else list(thresholds)
        self.tried, self.labels = list(tried), list(labels)
        if part_values is not None and (self.probabilities or self.tried):
            raise ConfigError(
                "probabilities and try_thresholds: this bundle is several networks, whose scores "
                "are not of one scale; leave them out, or import a part alone"
            )
        self.part_values = None if part_values is None else [list(one) for one in part_values]
        self.max_slab_bytes = max_slab_bytes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        image = result[self.reference]
        for key in self.key_iterator(result):
            with stage(result, "restore"):
                slabs = as_slabs(result[key], probabilities=self.of_probabilities)
                restoration = self.begin(slabs, image)
                result |= self.end(restoration.run(), image, key=str(key))
        return result

    def begin(self, slabs: ScoreSlabs, image: MetaTensor) -> Restoration:
        """The restoration that slabs of scores on the image's grid are to be added to."""
        if slabs.shape != tuple(image.shape[1:]):
            raise ValueError(
                f"scores are {slabs.shape}, not on the grid of {self.reference!r}, "
                f"{tuple(image.shape)}"
            )
        options: dict[str, Any] = {
            "affine": image.affine,
            "target": RestoreBox.of(image.meta, original_grid(image)).grid,
            "nearest": nearest_axis(image.meta),
            "max_slab_bytes": self.max_slab_bytes,
            "probabilities": list(self.probabilities.values()),
            "regions": self.region_values is not None,
            "thresholds": self.thresholds,
        }
        if self.tried:
            return TriedRestoration(slabs, tried=self.tried, **options)
        return Restoration(slabs, **options)

    def end(
        self, restoration: Restoration, image: MetaTensor, *, key: str = "pred"
    ) -> dict[Hashable, Any]:
        """What this transform puts into the dictionary, of a restoration that has all its slabs."""
        box = RestoreBox.of(image.meta, original_grid(image))
        result: dict[Hashable, Any] = {f"{key}_margin": restoration.boundary_margin}
        labels = box.filled(restoration.labels)
        if self.region_values is not None:
            result[f"{key}_bits"] = labels[None]
            labels = written_map(labels, self.region_values)
        result[key] = _in_scan(labels, image)
        if self.probabilities:
            found = restoration.probabilities
            result[f"{key}_probabilities"] = {
                # around the box it is surely background
                name: box.filled(found[channel], 0 if channel else 255)
                for name, channel in self.probabilities.items()
            }
        if isinstance(restoration, TriedRestoration):
            result[f"{key}_levels"] = {
                name: box.filled(restoration.levels(number))
                for number, name in enumerate(self.labels)
            }
        return result

    def begin_parts(self, image: MetaTensor) -> MergedParts:
        """What takes the labels of several networks; see `part_values`."""
        assert self.part_values is not None
        return MergedParts(self.part_values, original_grid(image))

    def end_parts(
        self, merged: MergedParts, image: MetaTensor, *, key: str = "pred"
    ) -> dict[Hashable, Any]:
        """What this transform puts into the dictionary, of the labels of all parts."""
        return {f"{key}_margin": merged.boundary_margin, key: _in_scan(merged.labels, image)}


def _in_scan(labels: np.ndarray, image: MetaTensor) -> MetaTensor:
    """A label map (X, Y, Z) of a scan, with what its meta says of its file."""
    target = original_grid(image)
    meta: dict[str, Any] = {
        "filename_or_obj": image.meta.get("filename_or_obj", ""),
        "original_affine": target.affine,
        "spatial_shape": np.asarray(target.shape),
    }
    if "nifti_header" in image.meta:
        meta["nifti_header"] = image.meta["nifti_header"]
    affine = torch.as_tensor(target.affine)
    return MetaTensor(torch.from_numpy(labels)[None], affine=affine, meta=meta)


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
