"""A decision of a plan, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GIVEN = "given on the command line"
"""The reason of a decision that somebody else took."""


@dataclass(frozen=True)
class Decision:
    """One setting of a plan.

    Args:
        name: the setting, as the configs call it.
        value: plain, ready for JSON.
        reason: sentences that say why, with the numbers that decided.
    """

    name: str
    value: Any
    reason: str


def sizes(values: Iterable[float]) -> str:
    """Numbers per axis in words.

    >>> sizes([0.78125, 0.78125, 2.5]), sizes([512, 512, 100])
    ('0.781 x 0.781 x 2.5', '512 x 512 x 100')
    """
    return " x ".join(f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values)


def length(seconds: float) -> str:
    """A training's time as text.

    >>> length(40), length(1200), length(86400)
    ('40 seconds', '20 minutes', '24 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.3g} hours"
