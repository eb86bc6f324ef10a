"""How large the pieces of a label are where somebody drew them: what small ones are told by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....data.datasets.label_map import LabelMap
from ....transforms.connected import connected_components
from ...evaluation.measure import label_states

_OF_SMALLEST = 0.5


def piece_candidates(volumes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Label -> ml below which a piece of a mask may be none.

    Half of the smallest piece that was drawn anywhere, of labels that were drawn in several pieces
    somewhere. Nothing larger is tried: the next patient's spleen may be smaller than any here, and
    a label whose only piece is removed is lost. Where each case has one piece it is not asked at
    all: the largest piece alone removes what is wrong, and never the label.

    Args:
        volumes: of each case label -> ml of each of its pieces.
    """
    result = {}
    for name in dict.fromkeys(name for case in volumes for name in case):
        drawn = [case[name] for case in volumes if case.get(name)]
        several = any(len(pieces) > 1 for pieces in drawn)
        result[name] = [float(f"{_OF_SMALLEST * min(map(min, drawn)):.3g}")] if several else []
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
