"""The setting smallest_piece: how large a piece of a label has to be to stay in a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.errors import ConfigError


def check_smallest_piece(smallest_piece: Any, labels: Sequence[str]) -> dict[int, float]:
    """The setting smallest_piece by the labels' channel indices.

    Args:
        smallest_piece: label -> ml; None: all pieces stay.
        labels: names, the background first.

    Raises:
        ConfigError: it names what is no foreground label, or says no volume above 0.
    """
    given = smallest_piece or {}
    names = list(labels)[1:]
    if not isinstance(given, Mapping) or any(name not in names for name in given):
        raise ConfigError(
            f"smallest_piece {smallest_piece!r}: a mapping from labels to ml is wanted, as "
            f"{{{(names or ['liver'])[0]}: 0.1}}; there are {', '.join(names) or 'no labels'}"
        )
    for name, ml in given.items():
        if type(ml) not in (int, float) or not 0 < ml < float("inf"):
            raise ConfigError(f"smallest_piece of {name}: {ml!r} is no volume in ml above 0")
    return {names.index(name) + 1: float(ml) for name, ml in given.items()}
