"""The tables of docs/losses.md."""

from __future__ import annotations

from collections.abc import Callable

from gridgate.pipeline.training.losses.catalogue import FAMILIES, LOSSES

__all__ = ["FAMILIES", "family_table"]


def family_table(family: str) -> Callable[[], str]:
    """What writes the table of a family's losses."""

    def table() -> str:
        lines = ["| name | formula | when to use it | source |", "|---|---|---|---|"]
        for name, loss in LOSSES.items():
            if loss.family == family:
                formula = loss.formula.replace("|", "\\|")
                lines.append(f"| `{name}` | `{formula}` | {loss.use} | {loss.source} |")
        return "\n".join(lines) + "\n"

    return table
