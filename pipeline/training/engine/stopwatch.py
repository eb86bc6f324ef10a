"""Seconds of each part of a training: a clock that runs for one part at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

OTHER = "other"
PARTS = ("read", "augment", "forward", "loss", "backward", "step", "validate", "save", OTHER)
"""The parts of a training, in the order in which they are told."""


class Stopwatch:
    """Counts each second for one part, so that the parts add up to the whole.

    It starts with the first `switch`. On a GPU it waits at each switch for what was asked of it:
    the seconds are those of the part's own kernels.

    Args:
        device: where the training computes; None: nothing is waited for.

    Example:
        >>> watch = Stopwatch()
        >>> watch.switch("forward"), watch.switch("loss")
        ('other', 'forward')
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._part = OTHER
        self._since: float | None = None  # when the part's time began; None: the clock stands

    @property
    def whole(self) -> float:
        """Seconds from the start to the last switch."""
        return sum(self.seconds.values())

    def switch(self, part: str) -> str:
        """Count for another part from now on; the part that was counted for until now."""
        self.stop()
        before, self._part, self._since = self._part, part, time.perf_counter()
        return before

    def stop(self) -> None:
        """Count up to now, and no further until the next switch."""
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self._since is not None:
            self.seconds[self._part] += time.perf_counter() - self._since
            self._since = None


@contextmanager
def timed(engine: Any, part: str) -> Iterator[None]:
    """Count what the block takes for a part, where the trainer has a stopwatch."""
    watch: Stopwatch | None = getattr(engine, "stopwatch", None)
    if watch is None:
        yield
        return
    before = watch.switch(part)
    try:
        yield
    finally:
        watch.switch(before)
