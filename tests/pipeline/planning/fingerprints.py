"""Fingerprints by hand."""

from collections.abc import Sequence

from gridgate.data.datasets.fingerprint.numbers import (
    CaseNumbers,
    Fingerprint,
    Intensities,
    LabelSize,
)

Centres = dict[str, tuple[float, float, float]]


def size(
    ml: float = 10.0,
    *,
    share: float = 0.01,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    largest: float = 1.0,
    at_border: bool = False,
) -> LabelSize:
    """A label of a case."""
    return LabelSize(ml, share, centre, largest, at_border)


def fingerprint(
    cases: Sequence[dict[str, LabelSize]],
    *,
    labels: Sequence[str] = ("liver",),
    channels: Sequence[str] = ("CT",),
    spacing: Sequence[tuple[float, float, float]] | tuple[float, float, float] = (1.0, 1.0, 1.0),
    shape: tuple[int, int, int] = (64, 64, 64),
) -> Fingerprint:
    """A dataset of such cases, all of one shape."""
    each = spacing if isinstance(spacing[0], tuple) else [spacing] * len(cases)
    found = [
        CaseNumbers(f"{number:03d}", shape, mm, shape, sizes)  # type: ignore[arg-type]
        for number, (sizes, mm) in enumerate(zip(cases, each, strict=True))
    ]
    intensity = Intensities(mean=50.0, std=40.0, low=-90.0, median=55.0, high=210.0)
    return Fingerprint(
        "by hand",
        tuple(channels),
        ("background", *labels),
        tuple(found),
        (intensity,) * len(channels),
        0.5,
    )
