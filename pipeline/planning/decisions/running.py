"""How the trained bundle is run: what costs time there, and brings a little."""

from __future__ import annotations

from collections.abc import Sequence

from ..measures.pace import Pace
from .decision import Decision

_CHEAP = 5.0  # seconds that a case may take with mirroring


def decide_test_mirror_axes(mirror_axes: Sequence[int], pace: Pace | None) -> Decision:
    """The axes of the training's mirroring, where all flips of a case take little time.

    Args:
        mirror_axes: of the training.
        pace: as measured; None where it could not be.
    """
    if not mirror_axes:
        return Decision("test_mirror_axes", [], "the training mirrors nothing")
    if pace is None:
        return Decision("test_mirror_axes", [], "no time was measured: the device is not here")
    flips = 2 ** len(mirror_axes)
    took = f"the windows of the median case take {pace.case:.2g} s, their {flips} flips"
    if flips * pace.case <= _CHEAP:
        why = f"{took} {flips * pace.case:.2g} s, and the mean over them is a little better"
        return Decision("test_mirror_axes", list(mirror_axes), why)
    why = f"{took} would take {flips * pace.case:.2g} s; ask for it by --mirror_axes when it is run"
    return Decision("test_mirror_axes", [], why)
