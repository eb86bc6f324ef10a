"""A training's cases in the memory of the device that trains, where their windows are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor

from .place import free_memory

SHARE = 1 / 3
"""Of a device's free memory that cases may take: what the network's passes need is not known."""


class DeviceVolume:
    """A volume (C, x, y, z) on a device, in the place of a MetaTensor: `volume[box]` is a view.

    Args:
        tensor: float32.
        affine: (4, 4), voxels to mm, on the CPU; None where it is not known.
    """

    def __init__(self, tensor: torch.Tensor, affine: Any = None) -> None:
        self.tensor = tensor
        self.shape = tensor.shape
        if affine is not None:
            self.affine = affine

    def __getitem__(self, box: Any) -> torch.Tensor:
        return self.tensor[box]


class CasesOnDevice(Sequence[dict[str, Any]]):
    """Preprocessed cases with their volumes on a device, and all else as it was.

    A case that has "annotated" gets "ignores": whether any voxel of its label does not count (-1).

    Args:
        cases: each read once; volumes may be anything that gives `volume[box]`.
        names: of what may be a volume.

    Raises:
        torch.OutOfMemoryError: the device's memory ran out.
    """

    def __init__(
        self, cases: Iterable[Mapping[str, Any]], names: Sequence[str], device: torch.device
    ) -> None:
        self.device = device
        self._cases = [_moved(case, names, device) for case in cases]

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: Any) -> Any:
        return dict(self._cases[index])


def bytes_on_device(cases: Iterable[Mapping[str, Any]], names: Sequence[str]) -> int:
    """What the cases' volumes will take there."""
    return sum(
        4 * math.prod(case[name].shape)
        for case in cases
        for name in names
        if _is_volume(case.get(name))
    )


def free_on(device: torch.device) -> int:
    """Bytes that can be had on a device; of the machine where it has no memory of its own."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def _moved(case: Mapping[str, Any], names: Sequence[str], device: torch.device) -> dict[str, Any]:
    moved = dict(case)
    for name in names:
        if _is_volume(case.get(name)):
            whole = torch.as_tensor(case[name][(slice(None),) * 4])
            plain = whole.as_tensor() if isinstance(whole, MetaTensor) else whole
            if name == "label" and "annotated" in case:
                moved["ignores"] = bool((plain < 0).any())
            tensor = plain.to(device, torch.float32).contiguous()
            moved[name] = DeviceVolume(tensor, getattr(case[name], "affine", None))
    return moved


def _is_volume(value: Any) -> bool:
    return len(getattr(value, "shape", ())) == 4
