"""Which pieces of a label are kept: decided label by label by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....data.datasets.label_map import LabelMap
from ....data.images.image import Image
from ....data.label_tables.measured import Measured
from ...evaluation.measure import measure_files, measure_regions
from ...evaluation.metrics import AS_USUAL, LabelMetrics
from .gain import CLEAR_GAIN, mean_dice
from .masks import ALL, LARGEST, CaseMasks, with_pieces


@dataclass(frozen=True)
class MeasuredCase:
    """A case with its masks as the network gave them.

    Args:
        id: of the case.
        masks, label: files.
        unannotated: labels that nobody drew in the case.
        metrics: of the masks above the chosen thresholds, label by label.
        changed: label -> what a piece has to have to stay, see masks.with_pieces -> its metrics so,
            where that changes the mask.
    """

    id: str
    masks: CaseMasks
    label: Path
    unannotated: Sequence[str]
    metrics: Mapping[str, LabelMetrics]
    changed: Mapping[str, Mapping[float, LabelMetrics]]

    def with_pieces(self, smallest: Mapping[str, float]) -> list[LabelMetrics]:
        """The metrics when labels keep such pieces only; labels that are left out keep all."""
        return [self.of_label(name, smallest.get(name, ALL)) for name in self.metrics]

    def of_label(self, name: str, smallest: float) -> LabelMetrics:
        """The metrics of a label that keeps such pieces only."""
        return self.changed.get(name, {}).get(smallest, self.metrics[name])


@dataclass(frozen=True)
class ComponentsChoice:
    """What cross-validation says of one label.

    Args:
        label: its name.
        dice: what a piece has to have to stay, from ALL to LARGEST -> mean Dice over all cases that
            have one.
    """

    label: str
    dice: Mapping[float, float]

    @property
    def smallest(self) -> float:
        """That of the highest mean Dice; of equal ones the one that removes least.

        Small pieces stay unless the gain is clear: one may be what the scan was made for.
        """
        if ALL not in self.dice:  # the largest piece, as somebody said
            return LARGEST
        better = [
            one
            for one in sorted(self.dice)
            if self.dice[one] > self.dice[ALL] + (0.0 if one == LARGEST else CLEAR_GAIN)
        ]
        return max(better, key=lambda one: self.dice[one]) if better else ALL

    def __str__(self) -> str:
        told = [f"{self.dice[one]:.4f} with {_which(one)}" for one in sorted(self.dice)]
        text = {ALL: "all pieces kept", LARGEST: "largest piece kept"}
        what = text.get(self.smallest, f"pieces below {self.smallest:g} ml removed")
        return f"{self.label}: {what} (mean Dice {', '.join(told)})"


def measured_case(
    case: str,
    masks: CaseMasks,
    label: Path,
    metrics: Mapping[str, LabelMetrics],
    *,
    labels: Sequence[str],
    label_map: Mapping[int, int],
    candidates: Mapping[str, Sequence[float]] | None = None,
    region_values: Sequence[int] | None = None,
    thresholds: Sequence[float] | None = None,
    unannotated: Sequence[str] = (),
    how: Measured = AS_USUAL,
) -> MeasuredCase:
    """Measure a case's masks again: above thresholds, and without some of the pieces.

    Args:
        metrics: of the masks as they were written.
        labels: names of the values, the background first.
        candidates: label -> ml that a piece may have to have, beside LARGEST.
        region_values: see Plan.
        thresholds: see CaseMasks.read; None where those of the masks are kept.
        label_map, unannotated: see evaluation.measure.measure_files.
        how: tolerances, and which labels are lesions.
    """

    def measured(images: Sequence[Image]) -> dict[str, LabelMetrics]:
        told: dict[str, Any] = {"case": case, "unannotated": unannotated, "measured": how}
        told["label_map"] = LabelMap.of(label_map)
        if region_values is None:
            rows = measure_files(images[0], label, labels, **told)
        else:
            rows = measure_regions(images, label, labels, values=region_values, **told)
        return {row.label: row for row in rows}

    whole = masks.read(thresholds)
    if thresholds is not None:
        metrics = measured(whole)
    regions = region_values is not None
    changed: dict[str, dict[float, LabelMetrics]] = {name: {} for name in labels[1:]}
    seen: list[tuple[Sequence[Image], dict[str, LabelMetrics]]] = []
    for variant in _variants(labels, candidates or {}):
        kept = with_pieces(whole, variant, regions=regions)
        different = _different(whole, kept, regions=regions)
        rows = next((rows for images, rows in seen if _same(images, kept)), None) or (
            measured(kept) if different else {}
        )
        seen.append((kept, rows))
        for place in different:
            changed[labels[place]][variant[place]] = rows[labels[place]]
    return MeasuredCase(case, masks, label, unannotated, metrics, changed)


def choose_components(
    cases: Sequence[MeasuredCase],
    labels: Sequence[str],
    candidates: Mapping[str, Sequence[float]] | None = None,
    *,
    largest: set[str] | None = None,
) -> list[ComponentsChoice]:
    """Of each foreground label, which pieces give the highest mean Dice.

    Where it is the same all pieces are kept, as a second organ of another patient may be right.

    Args:
        candidates: see measured_case.
        largest: the labels of which the largest piece is kept, and of no other; None: it is chosen.
    """
    choices = []
    for name in labels[1:]:
        tried = [ALL, *(candidates or {}).get(name, ()), LARGEST]
        if largest is not None:
            tried = [LARGEST] if name in largest else tried[:-1]
        dice = {one: mean_dice([case.of_label(name, one).dice for case in cases]) for one in tried}
        choices.append(ComponentsChoice(name, dice))
    return choices


def _variants(
    labels: Sequence[str], candidates: Mapping[str, Sequence[float]]
) -> list[dict[int, float]]:
    """What is tried together: of each label, by its place, one thing at a time."""
    tried = {
        place: [LARGEST, *candidates.get(labels[place], ())] for place in range(1, len(labels))
    }
    most = max(map(len, tried.values()), default=0)
    return [{place: ml[at] for place, ml in tried.items() if at < len(ml)} for at in range(most)]


def _different(whole: Sequence[Image], kept: Sequence[Image], *, regions: bool) -> set[int]:
    """The labels, by their place among all, of which pieces are gone."""
    if regions:
        pairs = enumerate(zip(whole, kept, strict=True), start=1)
        return {place for place, (a, b) in pairs if not np.array_equal(a.array, b.array)}
    before = whole[0].array
    return set(np.unique(before[before != kept[0].array]).tolist())


def _same(some: Sequence[Image], others: Sequence[Image]) -> bool:
    return all(np.array_equal(a.array, b.array) for a, b in zip(some, others, strict=True))


def _which(smallest: float) -> str:
    return {ALL: "all", LARGEST: "the largest"}.get(smallest, f"those of {smallest:g} ml and more")
