"""Stored voxel values: channels first, integers kept, NaN, labels, and whether they can be HU."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

# A label stored through slope and intercept comes back with rounding of this order; more is a real
# fraction.
_WHOLE = 1e-4
# HU: air is -1000, fat -100, water 0, soft tissue to 100. A CT has voxels on both sides of these.
_FAT_HU, _DENSEST_AIR_HU = -50.0, -200.0
_NARROWEST = 50.0
_BYTE = 255.0
_PADDING = -1500.0  # what lies outside of a scanner's field of view is often set to -2000 or -3024
_NEXT_TO_NONE = 1e-3  # of the voxels
_USUAL_OFFSET = (900.0, 1200.0)  # where soft tissue lies when 1024 (or 1000) was not subtracted
_MOST_SAMPLES = 1 << 20


@dataclass(frozen=True)
class HuTrouble:
    """Why values can hardly be HU.

    Args:
        kind: "constant", "scaled" (0..1), "narrow", "picture" (0..255), "low" (no tissue),
            "offset" (1024 was not subtracted) or "high" (nothing as low as fat).
        text: in words.
    """

    kind: str
    text: str


def why_not_hu(array: NDArray[np.generic]) -> str | None:
    """Why the values of a CT can hardly be HU, in words; None when they can.

    Args:
        array: a CT's voxels, any shape and memory order; finite.

    Returns:
        For values in 0..1 or 0..255, of a range of less than 50 HU, none (but padding) as low as
            fat (an offset that was not subtracted), or none as high as fat.

    >>> why_not_hu(np.array([-1000, 40, 300]))
    >>> why_not_hu(np.array([0.0, 0.5, 1.0]))
    'the values lie in 0..1, so they are not HU but scaled'
    """
    trouble = hu_trouble(array)
    return None if trouble is None else trouble.text


def hu_trouble(array: NDArray[np.generic]) -> HuTrouble | None:
    """Why the values of a CT can hardly be HU, with its kind; see `why_not_hu`."""
    lowest, highest = float(array.min()), float(array.max())
    span = f"{lowest:.4g}..{highest:.4g}"
    if lowest == highest:
        return HuTrouble("constant", f"all voxels have the value {lowest:.4g}")
    if lowest >= 0 and highest <= 1:
        return HuTrouble("scaled", "the values lie in 0..1, so they are not HU but scaled")
    if highest - lowest < _NARROWEST:
        return HuTrouble("narrow", f"the values lie in {span}, too narrow a range for HU")
    if lowest >= 0 and highest <= _BYTE:
        return HuTrouble("picture", f"the values lie in {span}, as of a picture, not HU")
    if highest < _DENSEST_AIR_HU:
        return HuTrouble(
            "low", f"the values lie in {span}, all below {_DENSEST_AIR_HU:g}, so no tissue in HU"
        )
    return _offset_trouble(array, lowest, span)


def _offset_trouble(array: NDArray[np.generic], lowest: float, span: str) -> HuTrouble | None:
    flat = array.ravel("K")
    sample = np.asarray(flat[:: max(1, flat.size // _MOST_SAMPLES)], dtype=np.float64)
    if lowest < _PADDING:
        sample = sample[sample > lowest]
    dense = sample[sample > _USUAL_OFFSET[0] / 2]
    offset = bool(dense.size > 0 and _USUAL_OFFSET[0] <= np.median(dense) <= _USUAL_OFFSET[1])
    # Noise of air goes below 0 where the offset is still in it.
    least = _FAT_HU if offset else 0.0
    if sample.size and np.mean(sample < least) < _NEXT_TO_NONE:
        said = "no value is below 0" if lowest >= 0 else f"next to no value is below {least:g}"
        return HuTrouble(
            "offset" if offset else "high",
            f"{said} ({span}), but fat is -100 and air -1000 HU"
            + ("; an offset of 1024 was probably not subtracted" if offset else ""),
        )
    return None


def channels_first(stored: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
    """(X, Y, Z) of one channel, (C, X, Y, Z) of several, in the memory of what is stored.

    Raises:
        ImageError: other axes.
    """
    shape = stored.shape
    if channels == 1:
        if len(shape) >= 3 and all(size == 1 for size in shape[3:]):
            return stored.reshape(shape[:3], order="A")
        raise ImageError(
            f"it has the axes {shape}; a volume of one channel has three: split or stack it first"
        )
    if len(shape) == 5 and shape[3] == 1:
        stored = stored[:, :, :, 0]
    if stored.ndim != 4 or stored.shape[3] != channels:
        raise ImageError(f"it has the axes {shape}; {channels} channels need (X, Y, Z, {channels})")
    return np.moveaxis(stored, -1, 0)


def as_integers(
    stored: NDArray[np.generic], slope: float, inter: float
) -> NDArray[np.generic] | None:
    """The values as int16 or int32, in the same memory where possible.

    Returns:
        None when they are not whole or too large.
    """
    if stored.dtype.kind not in "iu" or slope != 1.0 or not inter.is_integer():
        return None
    held = np.iinfo(np.dtype(stored.dtype).name)
    lowest, highest = int(held.min), int(held.max)
    shift = int(inter)
    if shift or not np.can_cast(stored.dtype, np.int16):
        lowest, highest = int(stored.min()) + shift, int(stored.max()) + shift
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= lowest and highest <= limits.max:
            break
    else:
        return None
    whole: NDArray[Any]
    if stored.dtype == np.uint16 and dtype is np.int16:
        whole = stored.view(np.int16)  # the same bits, so no copy
    else:
        whole = stored.astype(dtype, order="K", copy=False)
    if shift:
        # Integers wrap around: where the sum fits, it is right even if what is stored, or the
        # shift, does not fit.
        whole += np.asarray(shift).astype(dtype)
    return whole


def settle_non_finite(
    array: NDArray[np.float32], non_finite: Literal["error", "replace", "zero"]
) -> tuple[str, ...]:
    """Replace NaN and infinity by the lowest finite value or 0, in place, and note how many.

    Raises:
        ImageError: there are some and `non_finite` is "error", or nothing is finite.
    """
    # One pass without a temporary array: the sum is finite unless a voxel is not, or the sum
    # overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return ()
    bad = ~np.isfinite(array)
    count = int(bad.sum())
    if count == 0:
        return ()
    if count == array.size:
        raise ImageError("none of its voxels is a finite number")
    if non_finite == "error":
        raise ImageError(
            f"{count} of {array.size} voxels are NaN or infinite; mend the file, or have them "
            "replaced by the lowest finite value with --non_finite replace"
        )
    if non_finite == "zero":
        array[bad] = 0
        return (f"{count} NaN or infinite voxels were replaced by 0",)
    lowest = array.min(where=~bad, initial=np.inf)
    array[bad] = lowest
    return (
        f"{count} NaN or infinite voxels were replaced by the lowest finite value, "
        f"{float(lowest):g}",
    )


def whole_numbers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The labels that floating-point values mean.

    Raises:
        ImageError: fractions, NaN, infinity, or beyond 64 bits.
    """
    if not np.isfinite(values).all():
        raise ImageError(
            f"{int((~np.isfinite(values)).sum())} of its voxels are NaN or infinite, so it is no "
            "label map"
        )
    whole = np.rint(values)
    fractions = np.abs(values - whole) > _WHOLE
    if fractions.any():
        example = float(values[fractions][0])
        raise ImageError(
            f"{int(fractions.sum())} of its voxels are fractions (for instance {example:g}), "
            "so it is not a label map; if it was resampled, do so again with nearest neighbours"
        )
    if np.abs(whole).max() >= 2.0**63:
        raise ImageError(f"it holds the value {np.abs(whole).max():g}, so it is not a label map")
    return whole.astype(np.int64)
