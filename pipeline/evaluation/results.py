"""What an evaluation leaves: metrics.csv, summary.json, and of lesions lesions.csv."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.errors import DatasetError
from ...data.output_folder import OutputFolder
from .lesions import LESION_COLUMNS
from .metrics import METRICS, LabelMetrics
from .statistics import summary

METRICS_FILE, SUMMARY_FILE, LESIONS_FILE = "metrics.csv", "summary.json", "lesions.csv"
_FIRST = ("dice", "volume_reference_ml")  # of every version's table
_EACH_LESION = ("kind", "reference_ml", "prediction_ml", "iou", "dice", "x_mm", "y_mm", "z_mm")
HOW_RUN = (
    "overlap",
    "blend",
    "padding",
    "mirror_axes",
    "side_pairs",
    "body_threshold",
    "region",
    "fit_region",
    "interpolate_probabilities",
    "thresholds",
    "engine",  # of INT8 alone: other engines give the same
)
"""Settings by which one network gives different masks; summary.json tells their values."""


def write_results(
    output: OutputFolder,
    rows: Sequence[tuple[str, LabelMetrics]],
    *,
    failed: Mapping[str, str],
    checkpoint: str,
    settings: Mapping[str, Any] | None = None,
    post_processing: Sequence[str] | None = None,
    missing: int = 0,
) -> dict[str, Any]:
    """Write metrics.csv and summary.json, and lesions.csv if a label is lesions.

    Args:
        output: the folder of the masks.
        rows: (case id, its metrics of one label).
        failed: case id -> why it could not be measured.
        checkpoint: fingerprint of the weights.
        settings: of the run, of which HOW_RUN are told; None: not told.
        post_processing: names of the transforms that changed the masks; None: not told.
        missing: cases of the run that are still to come; told where there are any.

    Returns:
        What summary.json holds: how many cases were measured, those that failed, and `summary`.

    Raises:
        OutputError: a file cannot be written, or one that Gridgate did not write is in its place.
    """
    with_lesions = any(row.lesions is not None for _, row in rows)
    columns = ["case", "label", "value", *METRICS, "tolerance_mm"]
    columns += [*LESION_COLUMNS, "status"] if with_lesions else ["status"]
    table = _csv(columns, ({"case": case, **row.as_row(), **_lesions(row)} for case, row in rows))
    result = {
        "cases": len({case for case, _ in rows}),
        "failed": dict(failed),
        **({"missing": missing} if missing else {}),
        "checkpoint": checkpoint,
        "settings": None
        if settings is None
        else {name: settings[name] for name in HOW_RUN if name in settings},
        "post_processing": None if post_processing is None else list(post_processing),
        **summary([row for _, row in rows]),
    }
    output.write(METRICS_FILE, lambda stream: stream.write(table))
    if with_lesions:
        each = _csv(["case", "label", *_EACH_LESION], _each_lesion(rows))
        output.write(LESIONS_FILE, lambda stream: stream.write(each))
    else:
        output.remove(LESIONS_FILE)  # of a run before
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    output.write(SUMMARY_FILE, lambda stream: stream.write(text.encode()))
    return result


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(rows)
    # a file's name may hold bytes that are not UTF-8
    return table.getvalue().encode("utf-8", errors="surrogateescape")


def _lesions(row: LabelMetrics) -> dict[str, Any]:
    return {} if row.lesions is None else row.lesions.as_row()


def _each_lesion(rows: Sequence[tuple[str, LabelMetrics]]) -> Iterator[dict[str, Any]]:
    for case, row in rows:
        for lesion in () if row.lesions is None else row.lesions.lesions:
            kind = "found" if lesion.found else "missed" if lesion.reference_ml else "made up"
            x, y, z = lesion.centre_mm
            sizes = (lesion.reference_ml, lesion.prediction_ml, lesion.iou, lesion.dice)
            values = (kind, *sizes, x, y, z)
            yield {"case": case, "label": row.label, **dict(zip(_EACH_LESION, values, strict=True))}


def read_results(folder: Path) -> dict[str, dict[str, LabelMetrics]]:
    """Case -> label -> its measures, from a folder's metrics.csv.

    Raises:
        DatasetError: there is no such table, or it is no table of ours.
    """
    path = folder / METRICS_FILE
    found: dict[str, dict[str, LabelMetrics]] = {}
    try:
        # with or without the mark that spreadsheets put first
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                # tables of earlier versions have fewer columns
                columns = (*METRICS, "tolerance_mm")
                numbers: dict[str, Any] = {
                    name: float((row[name] if name in _FIRST else row.get(name)) or "nan")
                    for name in columns
                }
                metrics = LabelMetrics(
                    row["label"], int(row["value"]), **numbers, status=row["status"]
                )
                found.setdefault(row["case"], {})[row["label"]] = metrics
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); run the evaluation first") from error
    return found


def read_summary(folder: Path) -> dict[str, Any]:
    """A folder's summary.json.

    Raises:
        DatasetError: there is none, or it cannot be read.
    """
    path = folder / SUMMARY_FILE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); run the evaluation first") from error
