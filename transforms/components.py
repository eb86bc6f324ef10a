"""Post-processing of label maps: largest component, small pieces and holes of a label."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

from ..data.geometry.affines import voxel_ml
from .connected import connected_components, erase
from .restore.regions import region_mask, written_map


class _LabelMapd(MapTransform):
    """Run `_process` on a copy of each label map (1, X, Y, Z); the input is not changed.

    Args:
        labels: the label values this is done to; None: each of them.
        region_values: of labels that overlap, see RestoreLabelsd: each region is changed by itself,
            in data[f"{key}_bits"], and the map is made anew of them. A region's label is its number
            from 1 up.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        labels: Sequence[int] | None = None,
        region_values: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = None if labels is None else tuple(int(label) for label in labels)
        self.region_values = None if region_values is None else list(region_values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            if self.region_values is not None:
                self._change_regions(result, key, self.region_values)
                continue
            changed = result[key].clone()
            array = torch.as_tensor(changed).cpu().numpy()[0]
            whole = array if np.issubdtype(array.dtype, np.integer) else array.astype(np.int32)
            remark = self._process(whole, _voxel_ml(changed), None)
            if (
                whole is not array or changed.device.type != "cpu"
            ):  # else the array is the tensor's own memory
                changed.copy_(torch.from_numpy(whole)[None])
            result[key] = changed
            if remark is not None:
                result[f"{key}_removed"] = remark
        return result

    def _change_regions(
        self, result: dict[Hashable, Any], key: Hashable, region_values: Sequence[int]
    ) -> None:
        bits = np.asarray(result[f"{key}_bits"])[0].copy(order="K")
        voxel_ml = _voxel_ml(result[key])
        remarks: dict[int, tuple[int, int]] = {}
        for number in range(len(region_values)):
            if self._wants_label(number + 1):
                mask = region_mask(bits, number)
                before = mask.copy(order="K")
                remark = self._process(mask, voxel_ml, number + 1)
                for what in (remark or {}).values():
                    remarks[number + 1] = what
                bits ^= (mask ^ before).astype(bits.dtype, copy=False) << number
        changed = result[key].clone()
        torch.as_tensor(changed).copy_(torch.from_numpy(written_map(bits, region_values))[None])
        result[key], result[f"{key}_bits"] = changed, bits[None]
        if remarks:
            result[f"{key}_removed"] = remarks

    def _wants(self, label: int) -> bool:
        return label != 0 and (self.region_values is not None or self._wants_label(label))

    def _wants_label(self, label: int) -> bool:
        return self.labels is None or label in self.labels

    def _process(
        self, labels: np.ndarray, voxel_ml: float, region: int | None
    ) -> dict[int, tuple[int, int]] | None:
        """Change the labels in place.

        Args:
            region: the region that the labels are the mask of, 1 inside.
        """
        raise NotImplementedError


class LargestComponentd(_LabelMapd):
    """Keep the largest component (26 neighbours) of each label; others become background.

    Of components of one size the first counts, by the indices of its first voxel.
    data[f"{key}_removed"] tells what was done: label -> (components found, voxels removed), for
    each label that is there.

    Args:
        labels: the label values this is done to; None: each of them.
    """

    def _process(
        self, labels: np.ndarray, voxel_ml: float, region: int | None
    ) -> dict[int, tuple[int, int]]:
        found = connected_components(labels)
        remove = np.zeros(len(found.label), dtype=bool)
        removed: dict[int, tuple[int, int]] = {}
        for label in np.unique(found.label).tolist():
            if self._wants(label):
                ids = np.flatnonzero(found.label == label)
                largest = ids[found.voxels[ids] == found.voxels[ids].max()]
                kept = (
                    largest[found.first_voxels(largest).argmin()] if len(largest) > 1 else largest
                )
                remove[ids] = ids != kept
                removed[label] = len(ids), int(found.voxels[ids].sum() - found.voxels[kept].sum())
        if remove.any():
            erase(labels, found, remove)
        return removed


class SmallPiecesd(_LabelMapd):
    """Remove the pieces (26 neighbours) of a label that are smaller than some volume.

    Args:
        smallest: label -> ml; a piece of this volume stays. Labels that are not in it keep all.

    Raises:
        ValueError: the label map has no affine to know volumes by.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        smallest: Mapping[int, float],
        region_values: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(
            keys,
            labels=list(smallest),
            region_values=region_values,
            allow_missing_keys=allow_missing_keys,
        )
        self.smallest = {int(label): float(ml) for label, ml in smallest.items()}

    def _process(self, labels: np.ndarray, voxel_ml: float, region: int | None) -> None:
        if np.isnan(voxel_ml):
            raise ValueError("pieces by volume: a MetaTensor with an affine is wanted")
        found = connected_components(labels)
        limits = [self.smallest.get(region or label, 0.0) for label in found.label.tolist()]
        # a volume that is a whole number of voxels stays one when it was rounded
        remove = found.voxels * voxel_ml < np.array(limits) * (1 - 1e-6)
        if remove.any():
            erase(labels, found, remove)


class FillHolesd(_LabelMapd):
    """Give a label the background that it encloses (no way out by 6 neighbours).

    Other labels inside stay.

    Args:
        labels: the label values this is done to; None: each of them, the smaller value first.
    """

    def _process(self, labels: np.ndarray, voxel_ml: float, region: int | None) -> None:
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is not None and self._wants(label):
                part = labels[box]
                part[_holes(part == label) & (part == 0)] = label


def _voxel_ml(labels: Any) -> float:
    """Millilitres of a voxel of a label map; NaN where it has no affine."""
    affine = getattr(labels, "affine", None)
    if affine is None:
        return float("nan")
    return voxel_ml(affine)


def _holes(mask: np.ndarray) -> np.ndarray:
    """What is False and has no way, by 6 neighbours, to the border of the array."""
    outside, count = ndimage.label(~mask)
    reaches = np.zeros(count + 1, dtype=bool)
    reaches[0] = True  # the mask itself
    for axis in range(mask.ndim):
        for end in (0, -1):
            reaches[np.moveaxis(outside, axis, 0)[end]] = True
    return ~reaches[outside]
