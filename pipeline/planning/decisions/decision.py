"""A decision of a plan, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


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
