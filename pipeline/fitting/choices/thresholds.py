"""Above which probability a voxel is a region: decided region by region by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....transforms.restore.thresholds import HALF
from .gain import CLEAR_GAIN, mean_dice
from .masks import TRIED


@dataclass(frozen=True)
class ThresholdChoice:
    """What cross-validation says of one region, or of the label of a single output channel.

    Args:
        label: its name.
        dice: mean Dice at each of TRIED, over all cases that have one.
    """

    label: str
    dice: Sequence[float]

    @property
    def best(self) -> int:
        """The place in TRIED of the highest mean Dice; of equal ones that nearest to a half."""
        known = [place for place, value in enumerate(self.dice) if not np.isnan(value)]
        places = known or [TRIED.index(HALF)]
        return max(places, key=lambda place: (self.dice[place], -abs(TRIED[place] - HALF)))

    @property
    def threshold(self) -> float:
        """The best one where it is clearly better than a half."""
        gain = self.dice[self.best] - self.dice[TRIED.index(HALF)]
        return TRIED[self.best] if gain > CLEAR_GAIN else HALF

    def __str__(self) -> str:
        told = ", ".join(f"{d:.4f} at {t:g}" for t, d in zip(TRIED, self.dice, strict=True))
        return f"{self.label}: threshold {self.threshold:g} (mean Dice {told})"


def choose_thresholds(
    cases: Sequence[Mapping[str, Sequence[float]]], labels: Sequence[str]
) -> list[ThresholdChoice]:
    """Of each foreground label the threshold with the highest mean Dice.

    Args:
        cases: of each label -> its Dice at each of TRIED, see evaluation.levels.
        labels: the background first.
    """
    return [
        ThresholdChoice(
            name, [mean_dice([case[name][place] for case in cases]) for place in range(len(TRIED))]
        )
        for name in labels[1:]
    ]
