"""Whether slices are of one volume: what they must have in common."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np

from ..errors import ImageError
from .slices import SliceHeader

_SAME_DIRECTION = 1e-3  # difference of direction cosines that is rounding
_SAME_SPACING = 1e-3  # relative


def check_one_volume(headers: Sequence[SliceHeader]) -> list[str]:
    """Refuse slices that differ in what slices of one volume share; notes on what is odd.

    Raises:
        ImageError: sizes, spacings, orientations, frames of reference, studies or patients differ.
    """
    _same(headers, "size", lambda one: f"{one.size[0]} x {one.size[1]} pixels")
    _same(
        headers,
        "PixelSpacing",
        lambda one: f"{one.spacing[0]:g} x {one.spacing[1]:g} mm",
        _spacing_differs,
    )
    _same(headers, "ImageOrientationPatient", _orientation_text, _orientation_differs)
    notes = []
    for number, (tag, _) in enumerate(headers[0].identity):
        stated = [one for one in headers if one.identity[number][1]]
        if stated:
            _same(stated, tag, partial(_identity_text, number))
        if stated and len(stated) < len(headers):
            lacking = len(headers) - len(stated)
            notes.append(
                f"{lacking} of {len(headers)} slices have no {tag}; that of the others is taken"
            )
    if headers[0].modality == "CT" and any(one.inverse for one in headers):
        notes.append(
            "PhotometricInterpretation is MONOCHROME1, which tells how to show the values and does "
            "not change them"
        )
    return notes


def _same(
    headers: Sequence[SliceHeader],
    what: str,
    text: Callable[[SliceHeader], str],
    differs: Callable[[SliceHeader, SliceHeader], bool] | None = None,
) -> None:
    """Refuse a series whose slices differ in something, naming how many have which."""
    first = headers[0]
    if not any(differs(first, one) if differs else text(first) != text(one) for one in headers[1:]):
        return
    counts: Counter[Hashable] = Counter(text(one) for one in headers)
    parts = ", ".join(f"{count} files have {value}" for value, count in counts.most_common(4))
    raise ImageError(
        f"its files differ in {what}, so they are not one volume: {parts}; split the series by it"
    )


def _spacing_differs(a: SliceHeader, b: SliceHeader) -> bool:
    return not np.allclose(a.spacing, b.spacing, rtol=_SAME_SPACING, atol=0)


def _orientation_differs(a: SliceHeader, b: SliceHeader) -> bool:
    ours, theirs = (one.rows_along + one.columns_along for one in (a, b))
    return not np.allclose(ours, theirs, rtol=0, atol=_SAME_DIRECTION)


def _orientation_text(one: SliceHeader) -> str:
    return (
        "("
        + " ".join(f"{round(number, 3) + 0.0:g}" for number in one.rows_along + one.columns_along)
        + ")"
    )


def _identity_text(number: int, one: SliceHeader) -> str:
    return one.identity[number][1]
