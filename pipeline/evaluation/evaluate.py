"""Evaluating: masks as for inferring, then measured against the original labels in the labels' own grids."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform
from tqdm import tqdm

from ...data.errors import ConfigError, GridgateError, OutputError
from ...data.geometry.grids import Grid, same_grid, voxel_map
from ...data.images.reading import read_labels
from ..batch.evaluator import CaseEvaluator, CasesFailedError
from ..batch.processor import reason
from ..batch.results import DONE
from .metrics import LabelMetrics, case_metrics, summary

logger = logging.getLogger(__name__)


def evaluate(
    evaluator: CaseEvaluator, *, label_map: Mapping[int, int] | None = None
) -> dict[str, Any]:
    """Segment the cases, then write output_dir/metrics.csv (a row a case and label) and summary.json.

    What is measured is the mask on disk against the label file, never a resampled label.

    Args:
        label_map: value in the label files -> the network's channel; None when they are the same.

    Returns:
        What summary.json holds: mean, std, median, min, max and count a label and metric; the cases
            that failed.

    Raises:
        CasesFailedError: some cases failed; the others are measured.
        ConfigError: a case has no label.
    """
    items = {item["id"]: item for item in evaluator.data_loader.dataset.data}  # type: ignore[union-attr]
    if any("label" not in item for item in items.values()):
        raise ConfigError(
            "there are no labels to measure these cases against; use the inferring workflow for "
            "them"
        )
    failure: CasesFailedError | None = None
    try:
        evaluator.run()
    except CasesFailedError as error:
        failure = error
    folder = evaluator.table.folder
    done = [
        row["case"]
        for row in evaluator.table.rows
        if row["status"] == DONE and row["case"] in items
    ]
    rows: list[tuple[str, LabelMetrics]] = []
    failed = {row["case"]: row["reason"] for row in evaluator.table.failed}
    names = evaluator.table.labels
    for case in tqdm(sorted(done), desc="measuring", unit="case"):
        try:
            measured = measure_files(
                folder / f"{case}.nii.gz", items[case]["label"], names, label_map=label_map
            )
            rows += [(case, row) for row in measured]
        except GridgateError as error:
            failed[case] = reason(error)
            logger.error(f"{case}: {failed[case]}")
    result = {
        "cases": len(done),
        "failed": failed,
        "checkpoint": evaluator.table.checkpoint,
        **summary([row for _, row in rows]),
    }
    write_rows(folder / "metrics.csv", [{"case": case, **asdict(row)} for case, row in rows])
    write_json(folder / "summary.json", result)
    if failure is None and failed:
        case, why = next(iter(failed.items()))
        failure = CasesFailedError(
            f"{len(failed)} cases could not be measured; first {case}: {why}"
        )
    if failure is not None:
        raise failure
    return result


def measure_files(
    mask: str | Path,
    label: str | Path,
    labels: Sequence[str],
    *,
    label_map: Mapping[int, int] | None = None,
) -> list[LabelMetrics]:
    """Metrics a foreground label of one mask file against one label file, in the label file's grid.

    Where the two grids differ (a label stored with another axis order, say) the mask is moved onto
    the label's grid by nearest neighbour, which is exact for flips and permutations.

    Raises:
        ImageError: one of the files cannot be read.
    """
    prediction, reference = read_labels(mask), read_labels(label)
    array = prediction.array
    if not same_grid(prediction.grid, reference.grid):
        array = on_grid(array, prediction.grid, reference.grid)
    names = {name: value for value, name in enumerate(labels) if value}
    truth = reference.array if label_map is None else _mapped(reference.array, label_map)
    return case_metrics(array, truth, labels=names, affine=reference.grid.affine)


def _mapped(values: np.ndarray, label_map: Mapping[int, int]) -> np.ndarray:
    table = np.zeros(max(int(values.max()), *label_map) + 1, dtype=np.uint16)
    for value, channel in label_map.items():
        table[value] = channel
    return table[values]


def on_grid(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Label map (X, Y, Z) of one grid on another, by nearest neighbour; 0 where the source has no voxel."""
    matrix = voxel_map(source, target)
    # float affines miss whole voxels by a hair, and a hair outside the border would be outside
    whole = np.round(matrix)
    matrix = np.where(np.abs(matrix - whole) < 1e-4, whole, matrix)
    moved: np.ndarray = affine_transform(
        labels,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=target.shape,
        order=0,
        mode="grid-constant",
        cval=0,
    )
    return moved


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV with one column a key of the first row; atomically.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with open(beside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["case"])
            writer.writeheader()
            writer.writerows(rows)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot write ({error.strerror})") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON with indents; atomically.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot write ({error.strerror})") from error
