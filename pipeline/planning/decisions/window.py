"""The window and the batch: as large as memory and time allow, in the shape of the scans.

The order is nnU-Net's (Isensee et al. 2021): a cube in mm, no larger than the median case, made
smaller along the axis where it covers most of the case; where it covers the case, larger batches,
as long as there are many iterations (benchmarks/results/ablation_msd_hippocampus.md).
Memory and time are measured, on the device or on PyTorch's meta device.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ....data.datasets.fingerprint.numbers import Fingerprint
from ....data.errors import ConfigError
from ..measures.machine import Machine, busy
from ..measures.trial import Candidate, Step
from .decision import GIVEN, Decision, length, sizes
from .window_sizes import fewest_iterations, first_window, smaller_window

_LOG = logging.getLogger("gridgate.planning")
_PROBE = 48**3  # voxels of the windows of the first trial
_BATCH = 2
_MOST_BATCH = 32
_ENOUGH = 10_000  # iterations; with fewer, more of them bring more than larger batches do
_MOST_SHARE = 0.05  # of the dataset's voxels in one batch
_TOO_SLOW = 1.25  # times what a step may take
_FAST = 1.3  # a step that takes less than its share by this is worth a larger window
_TRIALS = 5


@dataclass(frozen=True)
class WindowChoice:
    """What was decided.

    Args:
        window, batch: the decisions.
        step: as it was measured; None without a device.
        covers: the window covers the median case: neither memory nor time made it smaller.
    """

    window: Decision
    batch: Decision
    step: Step | None
    covers: bool = False


def decide_window(
    fingerprint: Fingerprint,
    spacing: Sequence[float],
    candidate: Candidate,
    machine: Machine,
    *,
    window: list[int] | None = None,
    batch: int | None = None,
) -> WindowChoice:
    """The window and the batch size of a network on a machine.

    Args:
        spacing: of the network's grid, mm.
        window, batch: what is given and not to be decided.

    Raises:
        ConfigError: not even the smallest window fits into the memory.
    """
    search = _Search(fingerprint, spacing, candidate, machine, batch or _BATCH)
    reason = search.shrink() if window is None else search.take(window)
    grown = _BATCH
    why = f"{search.batch}: " + (GIVEN if batch else "two are the fewest")
    if batch is None:
        grown, why = search.grow()
    return WindowChoice(
        Decision("roi_size", search.window, reason),
        Decision("batch_size", batch or grown, why),
        search.step,
        covers=search.window == search.first,
    )


class _Search:
    def __init__(
        self,
        fingerprint: Fingerprint,
        spacing: Sequence[float],
        candidate: Candidate,
        machine: Machine,
        batch: int,
    ) -> None:
        self.candidate, self.machine, self.batch = candidate, machine, batch
        self.shapes = fingerprint.content_shapes(spacing)
        self.shape = np.median(self.shapes, axis=0).tolist()
        self.divisor = candidate.divisor()
        self.first = first_window(self.shape, spacing, self.divisor)
        self.window = list(self.first)
        self.allowed = machine.seconds / fewest_iterations(machine.seconds)
        self.step: Step | None = None

    def shrink(self) -> str:
        """Make the window fit; the reason for what it has become."""
        reasons = [
            f"the median case has {sizes(self.shape)} voxels, and {self.candidate.name} takes "
            f"multiples of {sizes(self.divisor)}: {sizes(self.first)} to begin with"
        ]
        self._fit_memory()
        if self.window != self.first:
            reasons.append(
                f"{sizes(self.window)} is what fits into {_gb(self.machine.memory)} "
                f"({self.machine.why}) with {self.batch} windows at once, by PyTorch's meta device"
            )
        if self.machine.device is None:
            reasons.append("time was not measured: the device is not here")
            return "; ".join(reasons)
        before = self.window
        self._fit_time()
        assert self.step is not None
        if self.window != before:
            reasons.append(
                f"a step may take {self.allowed:.2g} s, so that {length(self.machine.seconds)} "
                f"have {fewest_iterations(self.machine.seconds):.0f} iterations: "
                f"{sizes(self.window)}"
            )
        reasons.append(f"measured: {self.step.seconds:.2g} s a step{self._peak()}{busy()}")
        return "; ".join(reasons)

    def take(self, window: list[int]) -> str:
        """Take a window that was given, and try it."""
        self.window = list(window)
        fitting = [-(-one // step) * step for one, step in zip(window, self.divisor, strict=True)]
        if fitting != self.window:
            raise ConfigError(
                f"roi_size {window}: {self.candidate.name} takes multiples of "
                f'{sizes(self.divisor)}; give --roi_size "{fitting}"'
            )
        if self.machine.device is None:
            needed = self.candidate.needed(self.window, self.batch, half=self.machine.half)
            if needed > self.machine.memory:
                raise self._does_not_fit(needed)
            return GIVEN
        found = self._try(self.window, self.batch)
        if isinstance(found, str):
            raise self._does_not_run(found)
        if self._too_large(found):
            raise self._does_not_fit(found.bytes or 0)
        self.step = found
        return f"{GIVEN}; measured: {found.seconds:.2g} s a step{self._peak()}{busy()}"

    def grow(self) -> tuple[int, str]:
        """A larger batch, where the window covers the case; and why."""
        if self.window != self.first:
            return self.batch, (
                "two are the fewest with which normalisation and the CPU's convolutions work well; "
                "what is left goes into the window"
            )
        most = min(_MOST_BATCH, int(_MOST_SHARE * float(self.shapes.prod(1).sum()) / self._voxels))
        batch = self.batch
        while 2 * batch <= most and self._may_grow(2 * batch):
            batch *= 2
        measured = ""
        if batch > self.batch and self.machine.device is not None:
            batch = self._tried(batch)
            measured = f"; measured: {self.step.seconds:.2g} s a step" if self.step else ""
        return batch, (
            "the window covers the median case, so what is left goes into the batch: no more than "
            f"{_MOST_SHARE:.0%} of the dataset's voxels, {_gb(self.machine.memory)}, and no fewer "
            f"than {_ENOUGH:,} iterations{measured}"
        )

    @property
    def _voxels(self) -> int:
        return prod(self.window)

    def _may_grow(self, batch: int) -> bool:
        if self.candidate.needed(self.window, batch, half=self.machine.half) > self.machine.memory:
            return False
        if self.step is None:
            return True
        return self.step.seconds * batch / self.batch <= self.machine.seconds / _ENOUGH

    def _tried(self, batch: int) -> int:
        """The batch, or half of it where it does not run; its step is remembered."""
        while batch > self.batch:
            found = self._try(self.window, batch)
            if isinstance(found, Step) and not self._too_large(found):
                self.step = found
                return batch
            batch //= 2
        return batch

    def _fit_memory(self) -> None:
        half = self.machine.half
        while True:
            needed = self.candidate.needed(self.window, self.batch, half=half)
            if needed <= self.machine.memory:
                return
            _LOG.info("windows of %s need %s", sizes(self.window), _gb(needed))
            share = self.machine.memory / needed
            target = self._voxels * max(share, 0.05) * 1.1  # what is found next decides anew
            self._cut()
            while self._voxels > target:
                self._cut()

    def _fit_time(self) -> None:
        """Try windows until a step takes about what it may; the largest that keeps to it is taken.

        Each trial's seconds per voxel say which window to try next, a larger one too: a small
        window's say too much where each kernel costs time of its own, as on a GPU.
        """
        windows = self._windows()
        small = (at for at, window in enumerate(windows) if prod(window) <= _PROBE)
        at: int | None = 0 if self.machine.kind == "cuda" else next(small, len(windows) - 1)
        ran: dict[int, Step] = {}
        failed: dict[int, str] = {}
        for _ in range(_TRIALS):
            if at is None:
                break
            found = self._try(windows[at], self.batch)
            if isinstance(found, str):
                failed[at] = found
            elif self._too_large(found):
                failed[at] = f"a step holds {_gb(found.bytes or 0)}"
            else:
                ran[at] = found
            at = self._next(windows, at, ran, failed)
        if not ran:
            raise self._does_not_run(list(failed.values())[-1])
        kept = [one for one, step in ran.items() if not self._too_slow(step)]
        best = min(kept) if kept else max(ran)
        self.window, self.step = windows[best], ran[best]

    def _windows(self) -> list[list[int]]:
        """The window, and all smaller ones in the order of their size."""
        found = [self.window]
        while (smaller := smaller_window(found[-1], self.shape, self.divisor)) is not None:
            found.append(smaller)
        return found

    def _next(
        self, windows: list[list[int]], at: int, ran: dict[int, Step], failed: dict[int, str]
    ) -> int | None:
        """Which window to try after one; None where no other is better."""
        if at in failed:
            if not ran and 0 not in failed:  # a small window did not run: a larger one may
                return 0
            # between what does not run and the next smaller one that does, or that was tried
            end = min((one for one in {*ran, *failed} if one > at), default=len(windows))
            middle = (at + end) // 2
            return middle if middle > at and (end in ran or not ran) else None
        seconds = ran[at].seconds
        if self.allowed / _FAST <= seconds <= _TOO_SLOW * self.allowed:
            return None
        per_voxel = seconds / prod(windows[at])
        larger = max((one for one in failed if one < at), default=-1)  # those do not run
        fits = (
            one
            for one, window in enumerate(windows)
            if one > larger and per_voxel * prod(window) <= self.allowed
        )
        wanted = next(fits, len(windows) - 1)
        return None if wanted in ran or wanted in failed else wanted

    def _does_not_run(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.candidate.name} with {self.batch} windows of {sizes(self.window)} at once does "
            f"not run on {self.machine.device}: {why}; take another --network or --roi_size"
        )

    def _does_not_fit(self, needed: int) -> ConfigError:
        return ConfigError(
            f"{self.candidate.name} needs {_gb(needed)} for {self.batch} windows of "
            f"{sizes(self.window)}, and there are {_gb(self.machine.memory)} ({self.machine.why}); "
            "give a smaller --roi_size or --training::batch_size, or more --memory"
        )

    def _smaller(self, window: list[int]) -> list[int] | None:
        return smaller_window(window, self.shape, self.divisor)

    def _try(self, window: list[int], batch: int) -> Step | str:
        _LOG.info("trying %d windows of %s on %s", batch, sizes(window), self.machine.device)
        found = self.candidate.try_step(window, batch, self.machine)
        if isinstance(found, str):
            _LOG.info("it did not run: %s", found)
        return found

    def _too_slow(self, step: Step) -> bool:
        return step.seconds > _TOO_SLOW * self.allowed

    def _too_large(self, step: Step) -> bool:
        return step.bytes is not None and step.bytes > self.machine.memory

    def _cut(self) -> None:
        smaller = self._smaller(self.window)
        if smaller is None:
            needed = self.candidate.needed(self.window, self.batch, half=self.machine.half)
            raise ConfigError(
                f"{self.candidate.name} needs {_gb(needed)} for {self.batch} windows of "
                f"{sizes(self.window)}, its smallest, and there are {_gb(self.machine.memory)} "
                f"({self.machine.why}); take another --network, or more --memory"
            )
        self.window = smaller

    def _peak(self) -> str:
        if self.step is None or self.step.bytes is None:
            return ""
        return f", {_gb(self.step.bytes)} at its peak"


def _gb(count: float) -> str:
    return f"{count / 1e9:.2g} GB"
