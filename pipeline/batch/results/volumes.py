"""How large each label is, and what the scan holds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....data.geometry.affines import voxel_ml
from ....data.geometry.foreground import foreground
from ....transforms.restore.regions import region_mask

_VOXELS_AT_A_TIME = 2**24


@dataclass(frozen=True)
class LabelVolume:
    """One label of a mask.

    Args:
        voxels: how many.
        ml: volume in millilitres.
        mean: mean of the scan there (HU for CT); None without a scan or voxels.
    """

    name: str
    voxels: int
    ml: float
    mean: float | None


def label_volumes(
    labels: NDArray[np.generic],
    *,
    affine: NDArray[np.float64],
    names: Sequence[str],
    scan: NDArray[np.generic] | None = None,
) -> list[LabelVolume]:
    """Volume of each foreground label, and the scan's mean in it.

    Args:
        labels: (X, Y, Z) whole numbers, an index of `names` each.
        affine: (4, 4) of that grid, RAS+ mm.
        names: of all labels, the background first.
        scan: (X, Y, Z), or (C, X, Y, Z) of which the first channel counts.
    """
    count = np.zeros(len(names), dtype=np.int64)
    total = np.zeros(len(names), dtype=np.float64)
    volume = None if scan is None else scan[0] if scan.ndim == 4 else scan
    # in the order of the memory, so that planes are views of it
    order = np.argsort([-stride for stride in labels.strides], kind="stable")
    planes = labels.transpose(order)
    values = None if volume is None else volume.transpose(order)
    step = max(1, _VOXELS_AT_A_TIME // max(1, planes[0].size))
    for start in range(0, len(planes), step):
        part = planes[start : start + step].reshape(-1)
        inside = foreground(part)
        found = part[inside]
        count += np.bincount(found, minlength=len(names))[: len(names)]
        if values is not None:
            weights = values[start : start + step].reshape(-1)[inside]
            total += np.bincount(found, weights=weights, minlength=len(names))[: len(names)]
    return [
        LabelVolume(
            name,
            int(count[value]),
            float(count[value]) * voxel_ml(affine),
            float(total[value] / count[value]) if volume is not None and count[value] else None,
        )
        for value, name in enumerate(names)
        if value
    ]


def region_volumes(
    bits: NDArray[np.integer],
    *,
    affine: NDArray[np.float64],
    names: Sequence[str],
    scan: NDArray[np.generic] | None = None,
) -> list[LabelVolume]:
    """Volume of each region, and the scan's mean in it; a voxel counts to all that hold it.

    Args:
        bits: (X, Y, Z), see transforms.restore.regions.
        affine, names, scan: as for `label_volumes`.
    """
    return [
        volume
        for number, name in enumerate(names[1:])
        for volume in label_volumes(
            region_mask(bits, number), affine=affine, names=["", name], scan=scan
        )
    ]
