"""Which axes of a label map are turned round against its image, proved by what lies under it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError
from ...images.image import Image

SOFT_TISSUE = (-30.0, 220.0)
"""HU of an organ with contrast; fat and air are below, bone is above."""
_BONE = 300.0
_LEAST = 0.7  # of the label's voxels that must be soft tissue
_MARGIN = 0.05  # by which the best must be better than any other


@dataclass(frozen=True)
class Flips:
    """What was found.

    Args:
        axes: of the array, that are turned round.
        evidence: in words, for the record.
    """

    axes: tuple[int, ...]
    evidence: str


def find_flips(label: NDArray[np.generic], image: Image, file: Path) -> Flips:
    """How an abdominal organ's label map lies on its CT, whatever its header says.

    Of the eight ways to turn axes round, the one is taken under which most of the label's voxels
    are soft tissue, and the label lies in front of the bones' centre, as the pancreas does. It
    must be better than all others, or nothing is proved.

    Args:
        label: (X, Y, Z), the axes in the image's order.
        image: the CT, in HU.
        file: the label's, for errors.

    Raises:
        ImageError: other shapes; no way fits, or two fit alike.
    """
    if label.shape != image.grid.shape:
        raise ImageError(
            f"{file}: its shape {label.shape} is not that of its CT {image.grid.shape}; get both "
            "again"
        )
    inside = label != 0
    if not inside.any():
        raise ImageError(f"{file}: is empty, so nothing says how it lies")
    bones = np.argwhere(np.greater(image.array[::2, ::2, ::2], _BONE)) * 2
    front = _world(bones.mean(axis=0), image)[1] if len(bones) else None
    low, high = SOFT_TISSUE
    found = []
    for turned_round in product((False, True), repeat=3):
        axes = tuple(axis for axis in range(3) if turned_round[axis])
        where = np.flip(inside, axes) if axes else inside
        values = image.array[where]
        share = float(((values >= low) & (values <= high)).mean())
        centre = _world(np.argwhere(where).mean(axis=0), image)
        placed = front is None or centre[1] > front
        found.append((placed, share, float(values.mean()), axes))
    found.sort(key=lambda one: one[:2], reverse=True)
    placed, share, mean, axes = found[0]
    second = max((one[1] for one in found[1:] if one[0]), default=0.0)
    if not placed or share < _LEAST or share - second < _MARGIN:
        raise ImageError(
            f"{file}: how it lies on its CT is not proved: in the best way {share:.0%} of its "
            f"voxels are soft tissue, in the next {second:.0%}; look at it, and turn it yourself"
        )
    turned = f"axes {', '.join(map(str, axes))} were turned round" if axes else "as it is"
    return Flips(
        axes,
        f"{turned}: {share:.0%} of its voxels are soft tissue (mean {mean:.0f} HU), in front of "
        f"the bones; the next best way has {second:.0%}",
    )


def _world(index: NDArray[np.float64], image: Image) -> NDArray[np.float64]:
    place: NDArray[np.float64] = image.grid.affine[:3, :3] @ index + image.grid.affine[:3, 3]
    return place
