"""Whether only the largest piece of a label is kept: decided label by label by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....data.datasets.label_map import LabelMap
from ....data.images.image import Image
from ...evaluation.measure import measure_files, measure_regions
from ...evaluation.metrics import LabelMetrics
from .masks import CaseMasks, with_largest


@dataclass(frozen=True)
class MeasuredCase:
    """A case with its masks as the network gave them.

    Args:
        id: of the case.
        masks, label: files.
        unannotated: labels that nobody drew in the case.
        metrics: of the masks above the chosen thresholds, label by label.
        changed: labels that have more than one piece -> their metrics with the largest only.
    """

    id: str
    masks: CaseMasks
    label: Path
    unannotated: Sequence[str]
    metrics: Mapping[str, LabelMetrics]
    changed: Mapping[str, LabelMetrics]

    def with_largest(self, names: Sequence[str]) -> list[LabelMetrics]:
        """The metrics when these labels keep their largest piece only."""
        return [
            self.changed[name] if name in names and name in self.changed else metrics
            for name, metrics in self.metrics.items()
        ]


@dataclass(frozen=True)
class ComponentsChoice:
    """What cross-validation says of one label.

    Args:
        label: its name.
        plain, largest: mean Dice of the whole mask, and of its largest piece alone, over all cases
            that have one.
    """

    label: str
    plain: float
    largest: float

    @property
    def keep(self) -> bool:
        """Whether the largest piece alone is better."""
        return self.largest > self.plain

    def __str__(self) -> str:
        what = "largest piece kept" if self.keep else "all pieces kept"
        return (
            f"{self.label}: {what} (mean Dice {self.plain:.4f} with all, {self.largest:.4f} with "
            "the largest)"
        )


def measured_case(
    case: str,
    masks: CaseMasks,
    label: Path,
    metrics: Mapping[str, LabelMetrics],
    *,
    labels: Sequence[str],
    label_map: Mapping[int, int],
    region_values: Sequence[int] | None = None,
    thresholds: Sequence[float] | None = None,
    unannotated: Sequence[str] = (),
) -> MeasuredCase:
    """Measure a case's masks again: above thresholds, and without all but the largest pieces.

    Args:
        metrics: of the masks as they were written.
        labels: names of the values, the background first.
        region_values: see Plan.
        thresholds: see CaseMasks.read; None where those of the masks are kept.
        label_map, unannotated: see evaluation.measure.measure_files.
    """

    def measured(images: Sequence[Image]) -> dict[str, LabelMetrics]:
        told: dict[str, Any] = {"case": case, "unannotated": unannotated}
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
    largest = with_largest(whole, range(1, len(labels)), regions=regions)
    different = _different(whole, largest, regions=regions)
    rows = measured(largest) if different else {}
    changed = {name: row for name, row in rows.items() if labels.index(name) in different}
    return MeasuredCase(case, masks, label, unannotated, metrics, changed)


def _different(whole: Sequence[Image], largest: Sequence[Image], *, regions: bool) -> set[int]:
    """The labels, by their place among all, of which pieces are gone."""
    if regions:
        pairs = enumerate(zip(whole, largest, strict=True), start=1)
        return {place for place, (a, b) in pairs if not np.array_equal(a.array, b.array)}
    before = whole[0].array
    return set(np.unique(before[before != largest[0].array]).tolist())


def choose_components(
    cases: Sequence[MeasuredCase], labels: Sequence[str]
) -> list[ComponentsChoice]:
    """Of each foreground label, whether its largest piece alone has the higher mean Dice.

    Where both are the same all pieces are kept, as a second organ of another patient may be right.
    """
    choices = []
    for name in labels[1:]:
        plain = [case.metrics[name].dice for case in cases]
        largest = [case.changed.get(name, case.metrics[name]).dice for case in cases]
        choices.append(ComponentsChoice(name, _mean(plain), _mean(largest)))
    return choices


def _mean(values: Sequence[float]) -> float:
    """Of the numbers that are not NaN; NaN of none, and nothing is larger than that."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
