"""Which training steps would fit into a memory, counted on PyTorch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

from ..measures.step_memory import CONTEXT_BYTES
from ..measures.trial import Candidate
from .window_sizes import smaller_window

_Choice = TypeVar("_Choice")
_FEW = 2  # windows of a batch, with which a smaller window is looked for


@dataclass(frozen=True)
class FittingSteps:
    """What would fit in the place of a step that does not.

    Args:
        needed: bytes that a device must have for the step that was asked for.
        batch: the most windows of the size asked for, fewer than asked for; None: not even one.
        shared: as `batch`, so that so many batches have as many windows as were asked for.
        window: the largest smaller window, in the network's multiples, `window_batch` at once;
            None: not even the smallest.
        window_batch: what was asked for, and at most two.
    """

    needed: int
    batch: int | None
    shared: int | None
    window: list[int] | None
    window_batch: int


def fitting_steps(
    candidate: Candidate, window: Sequence[int], batch: int, *, memory: int, half: bool
) -> FittingSteps:
    """The largest batch, and the largest window, that fit.

    Args:
        candidate: the network.
        window, batch: what was asked for.
        memory: bytes that there are for a step.
        half: the network runs in 16 bits.

    Raises:
        ConfigError: the network cannot be counted.
    """
    asked = list(window)
    few = min(batch, _FEW)
    needed = candidate.needed(asked, batch, half=half)
    # what was asked for did not fit, whatever was counted: the answer is smaller by a margin
    memory = min(memory, int(0.9 * needed))
    share = max(memory - CONTEXT_BYTES, 0) / (needed - CONTEXT_BYTES)  # what to look at first
    batches = list(range(batch - 1, 0, -1))
    most = _first(
        batches,
        lambda one: candidate.needed(asked, one, half=half) <= memory,
        guess=batch - 1 - int(share * batch),
    )
    windows = _smaller_windows(candidate, asked)
    voxels = share * prod(asked) * batch / few
    largest = _first(
        windows,
        lambda one: candidate.needed(one, few, half=half) <= memory,
        guess=sum(prod(one) > voxels for one in windows),
    )
    shared = None if most is None else next(one for one in range(most, 0, -1) if batch % one == 0)
    return FittingSteps(needed, most, shared, largest, few)


def _smaller_windows(candidate: Candidate, window: Sequence[int]) -> list[list[int]]:
    """All smaller windows of about its shape, the largest first."""
    divisor = candidate.divisor()
    whole = [max(size // step, 1) * step for size, step in zip(window, divisor, strict=True)]
    found = [] if whole == list(window) else [whole]
    smaller = smaller_window(whole, window, divisor)
    while smaller is not None:
        found.append(smaller)
        smaller = smaller_window(smaller, window, divisor)
    return found


def _first(
    choices: Sequence[_Choice], fits: Callable[[_Choice], bool], *, guess: int
) -> _Choice | None:
    """The first that fits, of choices that need less and less; those near the guess are tried."""
    low, high = 0, len(choices)
    at, tries = guess, 0
    while low < high:
        at = min(max(at, low), high - 1)
        there, tries = fits(choices[at]), tries + 1
        low, high = (low, at) if there else (at + 1, high)
        if tries == 1:
            at += -1 if there else 1
        else:
            at = (low + high) // 2
    return choices[low] if low < len(choices) else None
