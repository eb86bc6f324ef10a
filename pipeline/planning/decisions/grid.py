"""The network's grid: orientation and spacing.

The rules for the spacing are nnU-Net's (Isensee et al., Nature Methods 18, 203, 2021): the median
of the data, and along an axis of thick slices the 10th percentile.
"""

from __future__ import annotations

import numpy as np

from ....data.datasets.fingerprint.numbers import Fingerprint
from .decision import Decision, sizes

_THICK = 3.0  # times the other axes' spacing, and their voxels times the axis's own
_FINE_PERCENTILE = 10
_ENOUGH = 0.25  # of the median case's voxels: a window that sees less asks for half resolution


def decide_orientation() -> Decision:
    """RAS: the one that all bundles here have."""
    return Decision(
        "orientation",
        "RAS",
        "every scan is turned to the same axes, so that right, front and top are always on the "
        "same side of a window",
    )


def decide_spacing(fingerprint: Fingerprint) -> Decision:
    """The target spacing in mm, by nnU-Net's rule."""
    found = fingerprint.spacings()
    target = np.median(found, axis=0)
    shape = np.median(fingerprint.content_shapes(target), axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    reason = (
        f"the median of {len(found)} cases, {sizes(target)} mm (from {sizes(found.min(0))} to "
        f"{sizes(found.max(0))} mm)"
    )
    thick = target[worst] > _THICK * target[others].max()
    few = shape[worst] * _THICK < shape[others].min()
    if thick and few:
        fine = max(np.percentile(found[:, worst], _FINE_PERCENTILE), target[others].max() + 1e-5)
        reason += (
            f"; along {'xyz'[worst]} slices are thick and few ({target[worst]:.3g} mm, "
            f"{shape[worst]:.0f} slices), so the {_FINE_PERCENTILE}th percentile of that axis, "
            f"{fine:.3g} mm, keeps what the finer scans show"
        )
        target[worst] = fine
    return Decision("spacing", [round(float(mm), 4) for mm in target], reason)


def spacing_of_windows(spacing: list[float] | None, fingerprint: Fingerprint) -> list[float]:
    """The spacing in which windows are decided: of scans that keep their own the median one."""
    if spacing is not None:
        return spacing
    return [round(float(mm), 4) for mm in np.median(fingerprint.spacings(), axis=0)]


def half_resolution(
    fingerprint: Fingerprint, spacing: list[float], window: list[int]
) -> Decision | None:
    """A second plan's spacing, where a window sees little of a scan; else None.

    Axes finer than twice the finest spacing are doubled, thicker ones stay.
    """
    shape = np.median(fingerprint.content_shapes(spacing), axis=0)
    share = float(np.prod(np.minimum(window, shape)) / np.prod(shape))
    if share >= _ENOUGH:
        return None
    finest = min(spacing)
    halved = [round(2 * mm, 4) if mm < 2 * finest else mm for mm in spacing]
    return Decision(
        "spacing",
        halved,
        f"half resolution: at {sizes(spacing)} mm a window of {sizes(window)} sees {share:.0%} of "
        f"the median case of {sizes(shape)} voxels, less than {_ENOUGH:.0%}",
    )
