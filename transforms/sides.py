"""Labels with sides in a mirrored window: the right kidney is the left one there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def checked_pairs(
    pairs: Sequence[Sequence[int]], label_count: int | None
) -> tuple[tuple[int, int], ...]:
    """Pairs of foreground labels, each label in one of them at most."""
    found = [label for pair in pairs for label in pair]
    known = all(0 < label < (label_count or label + 1) for label in found)
    if any(len(pair) != 2 for pair in pairs) or len(set(found)) < len(found) or not known:
        raise ValueError(
            f"mirror_pairs {pairs}: wants pairs of foreground labels, each in one pair, "
            "such as [[3, 4]]"
        )
    return tuple((int(one), int(other)) for one, other in pairs)


def exchanged(window: torch.Tensor, pairs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Labels with those of each pair exchanged."""
    result = window
    for one, other in pairs:
        result = torch.where(window == one, other, torch.where(window == other, one, result))
    return result


def exchanged_places(row: Any, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """A list with a place per label, those of each pair exchanged."""
    places = np.arange(len(row))
    for one, other in pairs:
        places[[one, other]] = other, one
    return np.asarray(row)[places]
