"""Post-processing of label maps: largest component of a label, holes of a label."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import cc3d
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

_CHUNK = 1 << 22  # voxels looked at together, so that indices of the whole volume never exist


class _LabelMapd(MapTransform):
    """Run `_process` on a copy of each label map (1, X, Y, Z); the input is not changed."""

    def __init__(
        self,
        keys: KeysCollection,
        *,
        labels: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = None if labels is None else tuple(int(label) for label in labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            changed = result[key].clone()
            array = torch.as_tensor(changed).cpu().numpy()[0]
            whole = array if np.issubdtype(array.dtype, np.integer) else array.astype(np.int32)
            remark = self._process(whole)
            if (
                whole is not array or changed.device.type != "cpu"
            ):  # else the array is the tensor's own memory
                changed.copy_(torch.from_numpy(whole)[None])
            result[key] = changed
            if remark is not None:
                result[f"{key}_removed"] = remark
        return result

    def _wants(self, label: int) -> bool:
        return label != 0 and (self.labels is None or label in self.labels)

    def _process(self, labels: np.ndarray) -> dict[int, tuple[int, int]] | None:
        raise NotImplementedError


class LargestComponentd(_LabelMapd):
    """Keep the largest connected component (26 neighbours) of each label; the others become background.

    Of components of one size the first counts, by the indices of its first voxel. cc3d labels the
    components of all labels in one pass, on the box that holds them: 488x404x269 with 14 labels
    take 0.6 s, where scipy label by label took 11 s. data[f"{key}_removed"] tells what was done:
    label -> (components found, voxels removed), for each label that is there.

    Args:
        labels: the label values this is done to; None: each of them.
    """

    def _process(self, labels: np.ndarray) -> dict[int, tuple[int, int]]:
        order = np.argsort(labels.strides, kind="stable")
        box = _box(labels.transpose(order))  # first axis fastest in memory, whichever it is
        if box is None:
            return {}
        inside = labels.transpose(order)[box]
        part = np.asfortranarray(inside)
        components, count = cc3d.connected_components(part, connectivity=26, return_N=True)
        label_of = np.zeros(count + 1, dtype=np.int64)
        sizes = np.zeros(count + 1, dtype=np.int64)
        for values, found, at in _foreground(part, components):
            label_of[found[at]] = values[at]
            seen = np.bincount(found[at])
            sizes[: len(seen)] += seen
        tried = {
            label: np.flatnonzero(label_of == label) for label in np.unique(label_of[1:]).tolist()
        }
        tried = {label: ids for label, ids in tried.items() if self._wants(label)}
        largest = {label: ids[sizes[ids] == sizes[ids].max()] for label, ids in tried.items()}
        tied = [ids for ids in largest.values() if len(ids) > 1]
        first = _first_voxels(part, components, np.concatenate(tied), order) if tied else None
        keep = np.ones(count + 1, dtype=bool)
        removed: dict[int, tuple[int, int]] = {}
        for label, ids in tried.items():
            best = largest[label]
            kept = best[0] if first is None or len(best) == 1 else best[first[best].argmin()]
            keep[ids] = ids == kept
            removed[label] = len(ids), int(sizes[ids].sum() - sizes[kept])
        if not keep.all():
            for values, found, at in _foreground(part, components):
                values[at[~keep[found[at]]]] = 0
            if not np.shares_memory(part, inside):
                inside[...] = part
        return removed


class FillHolesd(_LabelMapd):
    """Give a label the background that it encloses (no way out by 6 neighbours); other labels inside stay.

    Args:
        labels: the label values this is done to; None: each of them, the smaller value first.
    """

    def _process(self, labels: np.ndarray) -> None:
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is not None and self._wants(label):
                part = labels[box]
                filled = ndimage.binary_fill_holes(part == label)
                part[filled & (part == 0)] = label


def _box(labels: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all labels; None when there are none."""
    box = [slice(None)] * 3
    for axis in (2, 1, 0):  # slowest in memory first, which leaves less for the others
        others = tuple(n for n in range(3) if n != axis)
        used = np.flatnonzero(labels[tuple(box)].any(axis=others))
        if not len(used):
            return None
        box[axis] = slice(int(used[0]), int(used[-1]) + 1)
    return box[0], box[1], box[2]


def _foreground(
    labels: np.ndarray, components: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Both volumes a chunk at a time, as flat views, with the indices of what is no background in the chunk."""
    flat, ids = labels.ravel("F"), components.ravel("F")
    for start in range(0, len(flat), _CHUNK):
        values = flat[start : start + _CHUNK]
        # numpy finds the true ones of booleans several times faster than the non-zero ones of
        # numbers.
        yield values, ids[start : start + _CHUNK], np.flatnonzero(values != 0)


def _first_voxels(
    labels: np.ndarray, components: np.ndarray, wanted: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """For each wanted component its first voxel: the index in a flat map whose last axis is the fastest.

    Args:
        order: the map's own axis for each axis of the two volumes.
    """
    count = int(components.max()) + 1
    asked = np.zeros(count, dtype=bool)
    asked[wanted] = True
    first = np.full(count, labels.size, dtype=np.int64)
    own_shape = tuple(labels.shape[axis] for axis in np.argsort(order))
    start = 0
    for values, found, at in _foreground(labels, components):
        at = at[asked[found[at]]]
        index = np.unravel_index(start + at, labels.shape, order="F")
        place = np.ravel_multi_index(tuple(index[axis] for axis in np.argsort(order)), own_shape)
        np.minimum.at(first, found[at], place)
        start += len(values)
    return first
