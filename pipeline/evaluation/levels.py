"""Dice of a case at several thresholds, from the levels that an evaluation has written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.datasets.label_map import LabelMap
from ...data.images.reading import read_labels
from .measure import counted, inside_of_each


def dice_of_levels(
    levels: Sequence[str | Path],
    label: str | Path,
    labels: Sequence[str],
    *,
    count: int,
    label_map: LabelMap,
    case: str,
    unannotated: Collection[str] = (),
) -> dict[str, list[float]]:
    """Dice of each region, or of the one label, at each of the thresholds that were tried.

    Args:
        levels: of each its file: how many thresholds a voxel exceeds, see TriedRestoration.
        count: of the thresholds.
        label, labels, label_map, case, unannotated: see measure.measure_regions.

    Returns:
        Name -> Dice at each threshold, from the lowest; NaN where both masks are empty, or where
        the label is not annotated: the Dice that measure_regions gives for the mask of the
        threshold.

    Raises:
        ImageError, DatasetError: as measure_regions.
    """
    told: dict[str, Any] = {"label_map": label_map, "case": case, "unannotated": unannotated}
    result = {}
    found = inside_of_each(label, labels, **told)
    for (name, inside, grid), file in zip(found, levels, strict=True):
        result[name] = [float("nan")] * count
        if inside is not None:
            reached, expected, _ = counted(read_labels(file), inside, grid)
            result[name] = [_dice(reached > level, expected == 1) for level in range(count)]
    return result


def _dice(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    size = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(prediction & reference) / size if size else float("nan")
