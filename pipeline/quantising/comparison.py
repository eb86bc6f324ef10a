"""Dice of each label in float32 and in INT8, over the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.errors import DatasetError
from ..evaluation.results import read_results, read_summary


@dataclass(frozen=True)
class Comparison:
    """What INT8 costs.

    Args:
        cases: that were measured.
        dice: label -> {"float32": mean Dice, "int8": mean Dice}, of labels that have one.
        unmeasured: labels that have none, as no case has them.
    """

    cases: int
    dice: Mapping[str, Mapping[str, float]]
    unmeasured: Sequence[str] = ()

    @property
    def most(self) -> float:
        """The largest change of a label's mean Dice, up or down."""
        return max(abs(_change(one)) for one in self.dice.values())

    def changes(self, more_than: float) -> str:
        """The labels whose mean Dice changes by more than that, and by how much."""
        changed = {label: _change(one) for label, one in self.dice.items()}
        return ", ".join(
            f"{label} {by:+.4f}" for label, by in changed.items() if abs(by) > more_than
        )

    def lines(self) -> list[str]:
        r"""A Markdown table.

        >>> print("\n".join(Comparison(4, {"liver": {"float32": 0.95, "int8": 0.9495}}).lines()))
        | label | Dice, float32 | Dice, INT8 | change |
        |---|---|---|---|
        | liver | 0.9500 | 0.9495 | -0.0005 |
        >>> Comparison(4, {"liver": {"float32": 0.95, "int8": 0.94999}}).lines()[-1]
        '| liver | 0.9500 | 0.9500 | +0.0000 |'
        """
        return [
            "| label | Dice, float32 | Dice, INT8 | change |",
            "|---|---|---|---|",
            *(
                f"| {label} | {one['float32']:.4f} | {one['int8']:.4f} | "
                f"{round(_change(one), 4) + 0.0:+.4f} |"  # not -0.0000
                for label, one in self.dice.items()
            ),
            *(f"| {label} | not measured: no case has it | | |" for label in self.unmeasured),
        ]


def _change(dice: Mapping[str, float]) -> float:
    return dice["int8"] - dice["float32"]


def refuse_failed(folder: Path) -> None:
    """Refuse an evaluation in which a case could not be segmented or measured.

    Raises:
        DatasetError: one could not.
    """
    failed = read_summary(folder)["failed"]
    if failed:
        case, why = next(iter(failed.items()))
        raise DatasetError(
            f"{case}: it could not be measured ({why}); mend it, or leave it out of the fold"
        )


def compare(exact: Path, small: Path) -> Comparison:
    """Two evaluations' folders: of float32, and of INT8.

    Means are over the cases in which either has a Dice. Where a label is neither in the mask nor in
    the reference there is none, and where the other network invents it, that was a 1.

    Raises:
        DatasetError: no label has a Dice.
    """
    before, after = read_results(exact), read_results(small)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for case, labels in before.items():
        for label, metrics in labels.items():
            pair = (metrics.dice, after[case][label].dice)
            if metrics.annotated and not all(math.isnan(one) for one in pair):
                numbers = [1.0 if math.isnan(one) else one for one in pair]
                pairs.setdefault(label, []).append((numbers[0], numbers[1]))
    if not pairs:
        raise DatasetError(f"{exact}: no label has a Dice, so that nothing tells what INT8 costs")
    dice = {
        label: {
            name: sum(pair[place] for pair in found) / len(found)
            for place, name in enumerate(("float32", "int8"))
        }
        for label, found in pairs.items()
    }
    names = dict.fromkeys(label for labels in before.values() for label in labels)
    return Comparison(len(before), dice, [name for name in names if name not in dice])
