"""Lesions one by one: which were found, how well, and which were made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...data.errors import ConfigError, ImageError
from ...data.geometry.affines import voxel_ml
from ...data.geometry.boxes import bounding_box
from .surfaces.distances import voxel_axes

LESION_COLUMNS = (
    "lesions_reference",
    "lesions_prediction",
    "lesions_found",
    "lesion_f1",
    "panoptic_quality",
    "lesion_dice",
)
"""What a metrics.csv has of labels that are lesions."""

_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference, of the prediction, or one that both have.

    Args:
        reference_ml: its volume in the reference; 0 if it was made up.
        prediction_ml: its volume in the prediction; 0 if it was missed.
        iou, dice: of the two, 0..1; 0 where it is in one alone.
        centre_mm: (x, y, z) of its centre of mass in the reference, or else in the prediction, by
            the affine; or in mm along the axes where a spacing is given.
    """

    reference_ml: float
    prediction_ml: float
    iou: float
    dice: float
    centre_mm: tuple[float, float, float]

    @property
    def found(self) -> bool:
        """Whether reference and prediction have it."""
        return self.reference_ml > 0 and self.prediction_ml > 0


@dataclass(frozen=True)
class LesionMetrics:
    """Lesions of a label in a case; panoptica's and the panoptic segmentation papers' measures.

    Papers: Kirillov et al. 2019, Panoptic segmentation (arXiv 1801.00868); Kofler et al. 2023,
    Panoptica (arXiv 2312.02608).

    Args:
        lesions: found ones, missed ones, then those made up, each by size.
    """

    lesions: tuple[Lesion, ...]

    @property
    def reference(self) -> int:
        """How many the reference has."""
        return sum(lesion.reference_ml > 0 for lesion in self.lesions)

    @property
    def prediction(self) -> int:
        """How many are predicted."""
        return sum(lesion.prediction_ml > 0 for lesion in self.lesions)

    @property
    def found(self) -> int:
        """How many both have."""
        return sum(lesion.found for lesion in self.lesions)

    @property
    def f1(self) -> float:
        """Detection F1, "recognition quality": 2 found / (reference + prediction); NaN of none."""
        total = self.reference + self.prediction
        return 2 * self.found / total if total else float("nan")

    @property
    def quality(self) -> float:
        """Panoptic quality: the sum of IoU of found lesions by the mean number of lesions, 0..1.

        The product of F1 and the mean IoU of found lesions; NaN where there are no lesions.
        """
        total = self.reference + self.prediction
        return 2 * sum(one.iou for one in self.lesions if one.found) / total if total else np.nan

    def as_row(self) -> dict[str, int | float]:
        """Column name -> value: LESION_COLUMNS."""
        values = (self.reference, self.prediction, self.found, self.f1, self.quality, self.dice)
        return dict(zip(LESION_COLUMNS, values, strict=True))

    @property
    def dice(self) -> float:
        """Mean Dice of the found lesions, 0..1; NaN where none was found."""
        return float(np.mean([one.dice for one in self.lesions if one.found] or [np.nan]))


def lesion_metrics(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float] | None = None,
    affine: NDArray[np.floating] | None = None,
    least_iou: float = 0.5,
) -> LesionMetrics:
    """Find each lesion of the reference in the prediction.

    Lesions are what hangs together by faces, edges or corners (26 neighbours). Two are the same
    where their IoU is `least_iou` or more, the best pairs first, each lesion once: above 0.5 there
    is no choice, as a lesion can have so much in common with one other alone. That is panoptica's
    naive threshold matching.

    Args:
        prediction, reference: masks (X, Y, Z) on one grid.
        spacing_mm: size of a voxel along the three axes, mm; or
        affine: (4, 4) voxel indices to mm.
        least_iou: 0..1; with 0 a voxel in common is enough.

    Raises:
        ImageError: the shapes differ.
        ConfigError: least_iou is outside 0..1.

    Example:
        >>> truth = np.zeros((9, 9, 9), bool)
        >>> truth[1:4, 1:4, 1:4] = truth[6, 6, 6] = True
        >>> guess = np.roll(truth, 0, axis=0)
        >>> guess[6, 6, 6] = False
        >>> measured = lesion_metrics(guess, truth, spacing_mm=(1, 1, 1))
        >>> measured.reference, measured.found, round(measured.f1, 3), measured.dice
        (2, 1, 0.667, 1.0)
    """
    _check(prediction, reference, least_iou)
    box = bounding_box(prediction, reference)
    to_mm = np.eye(4)
    to_mm[:3, :3] = voxel_axes(spacing_mm=spacing_mm, affine=affine)
    if affine is not None:
        to_mm[:3, 3] = np.asarray(affine, np.float64)[:3, 3]
    to_mm[:3, 3] = to_mm[:3, :3] @ [side.start for side in box] + to_mm[:3, 3]
    both = _Both(_Side.of(reference[box]), _Side.of(prediction[box]), to_mm)
    pairs = both.pairs(least_iou)
    truths, guesses = {true for true, _ in pairs}, {guess for _, guess in pairs}
    parts = (
        [both.lesion(*pair, common) for pair, common in pairs.items()],
        [both.lesion(number, 0, 0) for number in both.truth.numbers if number not in truths],
        [both.lesion(0, number, 0) for number in both.guess.numbers if number not in guesses],
    )
    ordered = [sorted(part, key=_size, reverse=True) for part in parts]
    return LesionMetrics(tuple(one for part in ordered for one in part))


def _check(prediction: NDArray[np.bool_], reference: NDArray[np.bool_], least_iou: float) -> None:
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ImageError(
            f"the prediction's shape {prediction.shape} and the reference's {reference.shape} must "
            "be the same, (X, Y, Z); resample the prediction onto the reference's grid first"
        )
    if not 0 <= least_iou <= 1:
        raise ConfigError(f"least_iou must be in 0..1, not {least_iou}")


def _size(lesion: Lesion) -> float:
    return lesion.reference_ml or lesion.prediction_ml


@dataclass(frozen=True, eq=False)
class _Side:
    """The lesions of one mask: which voxel has which number, voxels of each, and mean indices.

    The number 0 is what is no lesion; it has a size, and no centre.
    """

    labelled: NDArray[np.integer]
    sizes: NDArray[np.int64]
    centres: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> _Side:
        labelled, count = ndimage.label(mask, structure=_TOUCHING)
        numbers = np.arange(1, count + 1)
        centres = ndimage.center_of_mass(mask, labelled, numbers) if count else []
        sizes = np.bincount(labelled.ravel(), minlength=count + 1)
        return cls(labelled, sizes, np.array(centres, np.float64).reshape(-1, 3))

    @property
    def numbers(self) -> range:
        return range(1, len(self.sizes))


@dataclass(frozen=True, eq=False)
class _Both:
    """The lesions of the truth and of the guess, on a grid with an affine (4, 4)."""

    truth: _Side
    guess: _Side
    to_mm: NDArray[np.float64]

    def lesion(self, true: int, guessed: int, common: int) -> Lesion:
        """One of some numbers, 0 for none, with so many voxels in common."""
        sizes = [
            int(side.sizes[number]) if number else 0
            for side, number in ((self.truth, true), (self.guess, guessed))
        ]
        place = self.truth.centres[true - 1] if true else self.guess.centres[guessed - 1]
        x, y, z = (self.to_mm[:3, :3] @ place + self.to_mm[:3, 3]).tolist()
        ml = voxel_ml(self.to_mm)
        return Lesion(
            sizes[0] * ml,
            sizes[1] * ml,
            common / (sum(sizes) - common),
            2 * common / sum(sizes),
            (x, y, z),
        )

    def pairs(self, least_iou: float) -> dict[tuple[int, int], int]:
        """The lesions that are the same, (of the truth, of the guess) -> voxels in common."""
        common = (self.truth.labelled > 0) & (self.guess.labelled > 0)
        numbers = np.stack([self.truth.labelled[common], self.guess.labelled[common]])
        couples, voxels = np.unique(numbers, axis=1, return_counts=True)
        scored = []
        for true, guessed, both in zip(*couples.tolist(), voxels.tolist(), strict=True):
            iou = both / (self.truth.sizes[true] + self.guess.sizes[guessed] - both)
            if iou >= least_iou:
                scored.append((-iou, true, guessed, both))
        pairs: dict[tuple[int, int], int] = {}
        truths, guesses = set(), set()
        for _, true, guessed, both in sorted(scored):
            if true not in truths and guessed not in guesses:
                pairs[true, guessed] = both
                truths.add(true)
                guesses.add(guessed)
        return pairs
