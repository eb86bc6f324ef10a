"""How large the pieces of a label are where somebody drew them: what small ones are told by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....data.datasets.label_map import LabelMap
from ....transforms.connected import connected_components
from ...evaluation.measure import label_states

_OF_MEDIAN = 0.1


def piece_candidates(volumes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Label -> ml below which a piece of a mask may be none.

    The smallest piece that was drawn anywhere, and a tenth of the median one; each a hundredth
    less, with three digits, so that a piece of that size stays.

    Args:
        volumes: of each case label -> ml of each of its pieces.
    """
    result = {}
    for name in dict.fromkeys(name for case in volumes for name in case):
        pieces = [ml for case in volumes for ml in case.get(name, ())]
        found = [min(pieces), _OF_MEDIAN * float(np.median(pieces))] if pieces else []
        result[name] = sorted({float(f"{0.99 * ml:.3g}") for ml in found})
    return result


def piece_volumes(
    label: Path,
    labels: Sequence[str],
    *,
    label_map: Mapping[int, int],
    case: str,
    unannotated: Sequence[str] = (),
) -> dict[str, list[float]]:
    """Label -> ml of each of its pieces (26 neighbours) in a label file.

    Args:
        labels: names, the background first.
        label_map, case, unannotated: see evaluation.measure.measure_files.
    """
    known = LabelMap.of(label_map)
    told: dict[str, Any] = {"case": case, "unannotated": unannotated}
    states, grid, _ = label_states(label, labels, label_map=known, **told)
    drawn = np.maximum(states, 0)  # voxels to ignore are none
    result = {}
    for place, name in enumerate(labels[1:], start=1):
        mask = (drawn >> (place - 1)) & 1 if known.regions else drawn == place
        result[name] = (connected_components(mask.astype(np.uint8)).voxels * grid.voxel_ml).tolist()
    return result
