"""A case's tensors as what a CaseCache keeps, and back: whole, or as volumes read box by box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from ....data.datasets.cache.arrays import StoredArray
from ....data.datasets.cache.values import Held


class StoredVolume:
    """A volume (C, x, y, z) on disk, in the place of a MetaTensor: `volume[box]` reads a box.

    Args:
        array: on disk.
        affine: (4, 4), voxels to mm; None for a plain tensor.
    """

    def __init__(self, array: StoredArray, affine: torch.Tensor | None = None) -> None:
        self.array = array
        self.shape = torch.Size(array.shape)
        if affine is not None:
            self.affine = affine

    def __getitem__(self, box: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.array[box]))


class StoredIndices:
    """A list of numbers on disk, in the place of a tensor of one axis: a draw reads one number."""

    def __init__(self, array: StoredArray, start: int, length: int) -> None:
        self.array, self.start, self.length = array, start, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return int(self.array[self.start + index])


def to_held(value: Any) -> Any:
    """A value of a case with each tensor as Held; other values as they are."""
    if isinstance(value, MetaTensor):
        parts = {
            "meta": to_held(dict(value.meta)),
            "operations": to_held(list(value.applied_operations)),
        }
        return Held("volume", value.as_tensor().detach().cpu().numpy(), parts)
    if isinstance(value, torch.Tensor):
        return Held("tensor", value.detach().cpu().numpy())
    if _are_lists(value):
        arrays = [one.detach().cpu().numpy() for one in value]
        return Held("lists", np.concatenate(arrays), {"lengths": [len(one) for one in arrays]})
    if isinstance(value, list | tuple):
        return type(value)(map(to_held, value)) if type(value) in (list, tuple) else value
    if isinstance(value, Mapping):
        return {key: to_held(one) for key, one in value.items()}
    return value


def from_held(value: Any, *, whole: bool = True) -> Any:
    """The value that `to_held` was given.

    Args:
        whole: False leaves what is on disk there: StoredVolume, and lists of StoredIndices.
    """
    if isinstance(value, Held):
        array = value.array
        if isinstance(array, StoredArray) and not whole:
            return _in_parts(value, array)
        tensor = torch.from_numpy(array[...] if isinstance(array, StoredArray) else array)
        if value.kind == "tensor":
            return tensor
        if value.kind == "lists":
            return list(torch.split(tensor, value.parts["lengths"]))
        meta, operations = from_held(value.parts["meta"]), from_held(value.parts["operations"])
        return MetaTensor(tensor, meta=meta, applied_operations=operations)
    if isinstance(value, StoredArray):
        return value[...]
    if isinstance(value, list | tuple):
        return type(value)(from_held(one, whole=whole) for one in value)
    if isinstance(value, Mapping):
        return {key: from_held(one, whole=whole) for key, one in value.items()}
    return value


def _in_parts(held: Held, array: StoredArray) -> Any:
    if held.kind == "lists":
        lengths = held.parts["lengths"]
        starts = np.cumsum([0, *lengths[:-1]]).tolist()
        return [StoredIndices(array, *place) for place in zip(starts, lengths, strict=True)]
    affine = held.parts["meta"]["affine"] if held.kind == "volume" else None
    return StoredVolume(array, None if affine is None else from_held(affine))


def _are_lists(value: Any) -> bool:
    """Whether these are tensors of one axis and one type, as ClassIndicesd leaves them."""
    return (
        type(value) is list
        and len(value) > 0
        and all(type(one) is torch.Tensor and one.ndim == 1 for one in value)
        and len({one.dtype for one in value}) == 1
    )
