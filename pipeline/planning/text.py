"""Decisions as text for a terminal."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from .decisions.decision import Decision

_WIDTH = 100
_MOST = 60  # characters of a value in the short table


def decisions_text(decisions: Sequence[Decision], *, explain: bool = False) -> str:
    """A line per decision; with `explain` its reason below.

    >>> print(decisions_text([Decision("spacing", [1.0, 1.0, 2.5], "the median")], explain=True))
    spacing  [1.0, 1.0, 2.5]
        the median
    """
    width = max((len(one.name) for one in decisions), default=0)
    lines = []
    for one in decisions:
        shown = _shown(one.value)
        if not explain and len(shown) > _MOST:
            shown = shown[: _MOST - 3] + "..."
        lines.append(f"{one.name:{width}s}  {shown}")
        if explain:
            lines += textwrap.wrap(
                one.reason, _WIDTH, initial_indent="    ", subsequent_indent="    "
            )
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
