"""Cutting a drawn window out of volumes, on the volumes' device; each voxel interpolated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .draws import WindowDraw


def cut_windows(
    volumes: Sequence[tuple[Any, bool]], draw: WindowDraw, size: Sequence[int]
) -> list[torch.Tensor]:
    """The window of each volume, a new float32 tensor (C, *size) on the volume's device.

    No device is waited for: what depends on the draw alone is computed on the CPU, and the value
    that pads an image stays on its device.

    Args:
        volumes: each (C, x, y, z), all of one grid and device, and whether it is a label map: those
            are interpolated by nearest neighbour and padded with 0, images trilinearly and padded
            with their window's lowest value. Of each `shape` and `volume[box]` are asked, the box
            that the window touches.
    """
    if draw.matrix is None:
        return [_cut(volume, draw, size, pad_with_zero=is_label) for volume, is_label in volumes]
    plan = _turned(draw, size, volumes[0][0].shape[1:])
    parts = [torch.as_tensor(volume[plan.box]).float() for volume, _ in volumes]
    grid = _grid(plan, size, parts[0].device)
    return [
        _sample(part, grid, reaches_out=plan.reaches_out, nearest=is_label)
        for part, (_, is_label) in zip(parts, volumes, strict=True)
    ]


def _cut(volume: Any, draw: WindowDraw, size: Sequence[int], *, pad_with_zero: bool) -> Any:
    box, inside = [slice(None)], [slice(None)]
    for first, length, n in zip(draw.start, size, volume.shape[1:], strict=True):
        low, high = max(first, 0), min(first + length, n)
        box.append(slice(low, high))
        inside.append(slice(low - first, high - first))
    window = torch.as_tensor(volume[tuple(box)])
    if tuple(window.shape[1:]) != tuple(size):
        padded = window.new_zeros((window.shape[0], *size))
        if not pad_with_zero:
            padded.copy_(window.amin())
        padded[tuple(inside)] = window
        window = padded
    axes = [axis + 1 for axis in draw.flips]
    copied = torch.flip(window, axes) if axes else window.clone()
    return copied.to(torch.float32).contiguous()


@dataclass(frozen=True)
class _Turned:
    """Where a turned window lies.

    Attributes:
        box: of the part of the volume that it touches.
        rows: (x + y + z, 3) float32. The sum of a row of each axis is a voxel's place in the part
            as grid_sample counts it: in halves of the extent, the last axis first.
        reaches_out: whether it reaches outside the volume.
    """

    box: tuple[slice, ...]
    rows: np.ndarray
    reaches_out: bool


def _turned(draw: WindowDraw, size: Sequence[int], shape: Sequence[int]) -> _Turned:
    matrix, edge = np.asarray(draw.matrix), np.asarray(shape)
    half = (np.asarray(size) - 1) / 2
    centre = np.asarray(draw.start) + half
    corners = matrix @ np.array(list(product(*((-h, h) for h in half)))).T + centre[:, None]
    first, last = corners.min(1), corners.max(1)
    low = np.clip(np.floor(first) - 1, 0, edge - 1).astype(int)
    high = np.clip(np.ceil(last) + 2, low + 1, edge).astype(int)
    extent = high - low
    rows = []
    for axis, length in enumerate(size):
        steps = np.arange(length) - half[axis]
        steps = steps[::-1] if axis in draw.flips else steps
        rows.append(steps[:, None] * (2 * matrix[:, axis] / extent))
    rows[0] = rows[0] + (2 * (centre - low) + 1) / extent - 1
    return _Turned(
        box=(slice(None), *map(slice, low.tolist(), high.tolist())),
        rows=np.concatenate(rows)[:, ::-1].astype(np.float32),
        reaches_out=bool((first < 0).any() or (last > edge - 1).any()),
    )


def _grid(plan: _Turned, size: Sequence[int], device: torch.device) -> torch.Tensor:
    """(1, x, y, z, 3), grid_sample's. Sums alone, so that it is the same to the bit anywhere."""
    rows = torch.from_numpy(plan.rows).to(device, non_blocking=True)
    x, y, z = rows.split(list(size))
    return ((x[:, None] + y)[:, :, None] + z)[None]


def _sample(
    part: torch.Tensor, grid: torch.Tensor, *, reaches_out: bool, nearest: bool
) -> torch.Tensor:
    mode = "nearest" if nearest else "bilinear"
    if not reaches_out:  # rounding alone does
        return functional.grid_sample(
            part[None], grid, mode=mode, padding_mode="border", align_corners=False
        )[0]
    if nearest:
        return functional.grid_sample(part[None], grid, mode=mode, align_corners=False)[0]
    # outside is 0 to grid_sample, so 0 is made the lowest value
    lowest = part.amin()
    window = functional.grid_sample((part - lowest)[None], grid, mode=mode, align_corners=False)
    return window[0].add_(lowest)
