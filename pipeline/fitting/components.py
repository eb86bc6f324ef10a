"""Whether only the largest piece of a label is kept: decided label by label by cross-validation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.images.reading import read_labels, write_labels
from ...transforms.components import LargestComponentd
from ..evaluation.measure import measure_files
from ..evaluation.metrics import LabelMetrics


@dataclass(frozen=True)
class MeasuredCase:
    """A case with its mask as the network gave it.

    Args:
        id: of the case.
        mask, label: files.
        unannotated: labels that nobody drew in the case.
        metrics: of the mask, label by label.
        changed: labels that have more than one piece -> their metrics with the largest only.
    """

    id: str
    mask: Path
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
    mask: Path,
    label: Path,
    metrics: Mapping[str, LabelMetrics],
    *,
    labels: Sequence[str],
    label_map: Mapping[int, int],
    unannotated: Sequence[str] = (),
) -> MeasuredCase:
    """Measure a mask again without all but the largest piece of each label.

    Args:
        metrics: of the mask as it is.
        labels: names of its values, the background first.
        label_map, unannotated: see evaluation.measure.measure_files.
    """
    image = read_labels(mask)
    whole = np.ascontiguousarray(image.array)
    largest = largest_pieces(whole, range(1, len(labels)))
    different = set(np.unique(whole[whole != largest]).tolist())
    changed = {}
    if different:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / mask.name
            write_labels(path, largest, like=image)
            rows = measure_files(
                path, label, labels, label_map=label_map, case=case, unannotated=unannotated
            )
        changed = {row.label: row for row in rows if row.value in different}
    return MeasuredCase(case, mask, label, unannotated, metrics, changed)


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


def largest_pieces(labels: Any, values: Sequence[int]) -> Any:
    """A label map (X, Y, Z) without all but the largest piece of each of these values."""
    kept = LargestComponentd("pred", labels=list(values))
    return kept({"pred": torch.from_numpy(labels)[None]})["pred"][0].numpy()


def _mean(values: Sequence[float]) -> float:
    """Of the numbers that are not NaN; NaN of none, and nothing is larger than that."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
