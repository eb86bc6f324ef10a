"""Whether a CT series' values are HU: rescaling that is missing is settled by evidence, and noted.

A note that begins with "intensities: " says that the values may not be HU. CT alone has HU; of
other modalities nothing is asked.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..images.values import why_not_hu
from .slices import SliceHeader

DOUBT = "intensities: "
OFFSET = -1024.0
"""RescaleIntercept of nearly all CTs that are stored as unsigned numbers."""

_SAMPLES = 16  # slices that are looked at
_AIR_HU = (-1100.0, -850.0)
_AIR_STORED, _TISSUE_STORED = (0.0, 200.0), (850.0, 1400.0)  # of values that are HU + 1024
_SOME, _MOST = 0.01, 0.5  # shares of the voxels
_HU_TYPES = ("", "HU", "HU_MOD")
_UNSPECIFIED = "US"

Planes = Callable[[int], NDArray[np.generic]]


def settle_rescaling(
    headers: Sequence[SliceHeader], order: Sequence[int], stored: Planes
) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Put something in the place of rescaling tags that are missing, where the series is a CT.

    Without any RescaleIntercept the values decide: HU where there is air at -1000; HU + 1024 where
    none is negative and air and tissue lie 1024 higher; else they are left as stored, with doubt.
    Where only some slices lack it, each takes that of the nearest slice that has it, or none,
    whichever makes the two more alike.

    Args:
        headers: of the slices.
        order: indices of `headers` from the first slice to the last.
        stored: gives the pixels (rows, columns) of the slice with an index, not yet settled.

    Returns:
        The headers, with a `correction` where one is to be applied; notes.
    """
    settled = list(headers)
    lacking = [index for index in order if headers[index].missing]
    if not lacking or not any(one.modality == "CT" for one in headers):
        return settled, ()
    if len(lacking) < len(order):
        return _settle_some(settled, order, stored)
    tags = sorted({tag for index in lacking for tag in headers[index].missing})
    what = " and ".join(tags) + (" is" if len(tags) == 1 else " are") + " missing"
    if "RescaleIntercept" not in tags:
        return settled, (f"{what}; 1 is taken",)
    values = _sample(headers, order, stored)
    if _looks_like_hu(values):
        return settled, (f"{what}; the values have air at -1000 and are taken as HU",)
    if _looks_shifted(values):
        for index in lacking:
            settled[index] = replace(headers[index], correction=(1.0, OFFSET))
        return settled, (
            f"{what}; the values are those of a CT stored as HU + 1024, so {OFFSET:g} is added",
        )
    low, high = _range(values)
    return settled, (
        f"{DOUBT}{what}, and the values ({low:g} to {high:g}) do not tell whether they are HU, "
        "so they are left as stored",
    )


def doubts(
    array: NDArray[np.generic], headers: Sequence[SliceHeader], notes: Sequence[str]
) -> tuple[str, ...]:
    """Notes on a CT's values after rescaling: another RescaleType than HU, or no HU by their range.

    Args:
        array: the volume.
        notes: of the series so far; where one of them doubts the values, their range adds nothing.
    """
    if not any(one.modality == "CT" for one in headers):
        return ()
    found = []
    types = {one.rescale_type for one in headers}
    others = sorted(types - {*_HU_TYPES, _UNSPECIFIED})
    if others:
        found.append(f"{DOUBT}RescaleType is {', '.join(others)}, so the values are not HU")
    elif _UNSPECIFIED in types:
        sure = "" if _looks_like_hu(np.asarray(array[::4, ::4])) else DOUBT
        found.append(f"{sure}RescaleType is US (unspecified), and the values are taken as HU")
    elif not any(note.startswith(DOUBT) for note in notes):
        why = why_not_hu(array)
        found += [f"{DOUBT}{why}"] if why else []
    return tuple(found)


def _settle_some(
    headers: list[SliceHeader], order: Sequence[int], stored: Planes
) -> tuple[list[SliceHeader], tuple[str, ...]]:
    having = [k for k, index in enumerate(order) if not headers[index].missing]
    taken: Counter[str] = Counter()
    names = []
    settled = list(headers)
    for k, index in enumerate(order):
        one = headers[index]
        if not one.missing:
            continue
        other = order[min(having, key=lambda there: abs(there - k))]
        mine, target = _middle(stored(index)), _middle(stored(other))
        names.append(Path(one.name).name)
        # a tag that is there has been applied to `mine` already
        slope = headers[other].slope if "RescaleSlope" in one.missing else 1.0
        intercept = (
            headers[other].intercept
            if "RescaleIntercept" in one.missing
            else one.intercept * (1 - slope)
        )
        scaled = mine * slope + intercept
        if np.abs(scaled - target).mean() < np.abs(mine - target).mean():
            settled[index] = replace(one, correction=(slope, intercept))
            taken[f"slope {slope:g} and intercept {intercept:g}, as in the nearest other"] += 1
        else:
            taken["no rescaling, as they are alike without"] += 1
    shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    how = "; ".join(f"{count} get {what}" for what, count in taken.items())
    return settled, (
        f"rescaling is missing in {len(names)} of {len(order)} slices ({shown}): {how}",
    )


def _middle(plane: NDArray[np.generic]) -> NDArray[np.float64]:
    """A few quantiles of a slice's values: enough to tell which of two scales fits."""
    return np.quantile(np.asarray(plane)[::2, ::2].astype(np.float64), [0.1, 0.3, 0.5, 0.7, 0.9])


def _sample(
    headers: Sequence[SliceHeader], order: Sequence[int], stored: Planes
) -> NDArray[np.float64]:
    chosen = np.linspace(0, len(order) - 1, min(_SAMPLES, len(order))).round().astype(int)
    parts = []
    for k in chosen.tolist():
        plane = np.asarray(stored(order[k])).ravel().astype(np.float64)
        padding = headers[order[k]].padding
        inside = plane if padding is None else plane[plane != padding]
        parts.append(inside if inside.size else plane)
    return np.concatenate(parts)


def _looks_like_hu(values: NDArray[np.generic]) -> bool:
    return _share(values, _AIR_HU) >= _SOME


def _looks_shifted(values: NDArray[np.generic]) -> bool:
    """HU + 1024: nothing negative, and air and tissue there, or nearly all of it tissue."""
    tissue = _share(values, _TISSUE_STORED)
    return bool(values.min() >= 0) and (
        (tissue >= _SOME and _share(values, _AIR_STORED) >= _SOME) or tissue >= _MOST
    )


def _share(values: NDArray[np.generic], limits: tuple[float, float]) -> float:
    within = np.greater_equal(values, limits[0]) & np.less_equal(values, limits[1])
    return float(within.mean())


def _range(values: NDArray[np.generic]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
