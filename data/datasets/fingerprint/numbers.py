"""A dataset's fingerprint: sizes, voxels, intensities and labels, as plain numbers for JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DatasetError

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Intensities:
    """Of one channel, over the labelled voxels of all cases.

    Args:
        mean, std: in the image's units (HU for a CT).
        low, median, high: percentiles 0.5, 50 and 99.5.
        labels: name -> median of its voxels; labels that no case has are left out.
    """

    mean: float
    std: float
    low: float
    median: float
    high: float
    labels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelSize:
    """Of one label in one case.

    Args:
        ml: its volume.
        share: of the scan's voxels, 0..1.
        centre: mm RAS, from the scan's centre.
        largest: share of its voxels that its largest connected piece has, 0..1.
        at_border: it touches the scan's border.
    """

    ml: float
    share: float
    centre: Three
    largest: float
    at_border: bool


@dataclass(frozen=True)
class CaseNumbers:
    """Of one case. Axes are x, y, z of RAS, as nearly as the scan lies.

    Args:
        id: of the case.
        shape: voxels of the scan.
        spacing: mm.
        content: voxels of the box around the body of a CT, or around what is not 0 in other scans.
        labels: name -> its size; labels that the case does not have are left out.
        unannotated: labels that nobody drew in the case.
    """

    id: str
    shape: tuple[int, int, int]
    spacing: Three
    content: tuple[int, int, int]
    labels: Mapping[str, LabelSize]
    unannotated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """What plans are made from.

    Args:
        dataset: its name.
        channels: their names, as dataset.json has them.
        labels: names in the order of their values, the background first.
        cases: of the training cases.
        intensities: one per channel.
        case_seconds: to read a case and look at it.
        region_values: of labels that overlap, the value that each is written as; None where labels
            exclude each other.
    """

    dataset: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[CaseNumbers, ...]
    intensities: tuple[Intensities, ...]
    case_seconds: float = 0.0
    region_values: tuple[int, ...] | None = None

    @property
    def foreground(self) -> tuple[str, ...]:
        """The labels without the background."""
        return self.labels[1:]

    def spacings(self) -> NDArray[np.float64]:
        """(cases, 3) mm."""
        return np.array([case.spacing for case in self.cases], dtype=np.float64)

    def content_shapes(self, spacing: ArrayLike) -> NDArray[np.float64]:
        """(cases, 3) voxels of each case's content, resampled to a spacing in mm."""
        content = np.array([case.content for case in self.cases], dtype=np.float64)
        return np.asarray(content * self.spacings() / np.asarray(spacing, dtype=np.float64))

    def shapes(self, spacing: ArrayLike) -> NDArray[np.float64]:
        """(cases, 3) voxels of each case's scan, resampled to a spacing in mm."""
        shapes = np.array([case.shape for case in self.cases], dtype=np.float64)
        return np.asarray(shapes * self.spacings() / np.asarray(spacing, dtype=np.float64))

    def sizes(self, label: str) -> list[LabelSize]:
        """Of a label, in the cases that have it."""
        return [case.labels[label] for case in self.cases if label in case.labels]

    def drawn(self, label: str) -> int:
        """In how many cases a label would have been drawn if it was there."""
        return sum(label not in case.unannotated for case in self.cases)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that `to_dict` gave.

        Raises:
            DatasetError: an entry is missing or no number.
        """
        try:
            return cls(
                str(values["dataset"]),
                tuple(values["channels"]),
                tuple(values["labels"]),
                tuple(map(_case, values["cases"])),
                tuple(Intensities(**one) for one in values["intensities"]),
                float(values.get("case_seconds", 0)),
                None if values.get("region_values") is None else tuple(values["region_values"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"this is no fingerprint of a dataset ({type(error).__name__}: {error})"
            ) from error


def fingerprint_text(fingerprint: Fingerprint) -> str:
    """A fingerprint as the text of its file."""
    return json.dumps(fingerprint.to_dict(), ensure_ascii=False) + "\n"


def _case(values: Mapping[str, Any]) -> CaseNumbers:
    return CaseNumbers(
        str(values["id"]),
        _three(values["shape"], int),
        _three(values["spacing"], float),
        _three(values["content"], int),
        {
            name: LabelSize(**{**size, "centre": _three(size["centre"], float)})
            for name, size in values["labels"].items()
        },
        tuple(values.get("unannotated", ())),
    )


def _three(values: Sequence[Any], kind: Callable[[Any], Any]) -> Any:
    x, y, z = (kind(value) for value in values)
    return x, y, z
