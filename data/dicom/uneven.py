"""Slices that are not evenly spaced, interpolated linearly onto the finest even grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

_JITTER_MM, _JITTER_SHARE = 0.1, 0.05
_ON_GRID = 1e-3  # share of a step; so near to a slice, a grid plane is that slice
_MOST_PLANES_PER_SLICE = 10


class UnevenError(ImageError):
    """The slices of a series are not evenly spaced, so that they are no regular grid."""


@dataclass(frozen=True)
class Blend:
    """A plane of a volume as a mixture of two slices.

    Args:
        below, above: indices of the slices' headers.
        share: of `above`, 0 to 1.
    """

    below: int
    above: int
    share: float


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """An even grid through slices that are not evenly spaced.

    Args:
        sources, blends: see `layout.Layout`; one of both is None for each plane.
        step: (3,) mm LPS, from plane to plane.
        note: what was done, in words.
    """

    sources: list[int | None]
    blends: list[Blend | None]
    step: NDArray[np.float64]
    note: str


def tolerance(spacing: float) -> float:
    """By how many mm a slice may lie from its regular place in slices `spacing` mm apart."""
    return max(_JITTER_MM, _JITTER_SHARE * spacing)


def even_grid(
    kept: Sequence[int], positions: NDArray[np.float64], normal: NDArray[np.float64]
) -> EvenGrid:
    """The grid that begins at the first slice, with the smallest distance of two slices as step.

    The last plane is the last one that lies within half a step of the last slice; where it lies
    beyond that slice it is the slice.

    Args:
        kept: indices of the slices, in order along the normal, no two at one place.
        positions: (N, 3) mm LPS, of all slices.
        normal: (3,) unit vector across the slices.

    Raises:
        ImageError: slices do not lie on a straight line, or two are so near to each other that the
            grid would have far more planes than there are slices.
    """
    places = positions[list(kept)]
    depth = (places - places[0]) @ normal
    gaps = np.diff(depth)
    smallest = float(gaps.min())
    # gaps that differ by less than what passes as regular are the same gap
    spacing = float(np.median(gaps[gaps <= smallest + tolerance(smallest)]))
    line = places[0] + np.outer(depth / depth[-1], places[-1] - places[0])
    aside = float(np.linalg.norm(places - line, axis=1).max())
    if aside > tolerance(spacing):
        raise ImageError(
            f"its slices lie up to {aside:.3g} mm beside a straight line, so they are no volume; "
            "split the series"
        )
    count = int(np.floor(depth[-1] / spacing + 0.5)) + 1
    if count > _MOST_PLANES_PER_SLICE * len(kept):
        raise ImageError(
            f"two of its slices are only {spacing:.3g} mm apart, so that an even grid would have "
            f"{count} slices in the place of {len(kept)}; split the series"
        )
    sources: list[int | None] = []
    blends: list[Blend | None] = []
    for plane in range(count):
        at = min(plane * spacing, float(depth[-1]))
        above = min(max(int(np.searchsorted(depth, at)), 1), len(kept) - 1)
        share = float((at - depth[above - 1]) / (depth[above] - depth[above - 1]))
        near = abs(depth - plane * spacing).min() <= _ON_GRID * spacing
        source = kept[int(abs(depth - at).argmin())] if near or at < plane * spacing else None
        sources.append(source)
        blends.append(None if source is not None else Blend(kept[above - 1], kept[above], share))
    step = spacing / float(depth[-1]) * (places[-1] - places[0])
    note = (
        f"its {len(kept)} slices are {smallest:.4g} to {gaps.max():.4g} mm apart; they were "
        f"interpolated linearly onto {count} slices {spacing:.4g} mm apart, and the mask is on "
        "that grid"
    )
    return EvenGrid(sources, blends, step, note)
