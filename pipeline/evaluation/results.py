"""What an evaluation leaves: metrics.csv, a row per case and label, and summary.json."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.errors import DatasetError
from ...data.output_folder import OutputFolder
from .metrics import METRICS, LabelMetrics
from .statistics import summary

METRICS_FILE, SUMMARY_FILE = "metrics.csv", "summary.json"
HOW_RUN = (
    "overlap",
    "mirror_axes",
    "side_pairs",
    "body_threshold",
    "region",
    "fit_region",
    "interpolate_probabilities",
    "thresholds",
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
) -> dict[str, Any]:
    """Write metrics.csv and summary.json.

    Args:
        output: the folder of the masks.
        rows: (case id, its metrics of one label).
        failed: case id -> why it could not be measured.
        checkpoint: fingerprint of the weights.
        settings: of the run, of which HOW_RUN are told; None: not told.
        post_processing: names of the transforms that changed the masks; None: not told.

    Returns:
        What summary.json holds: how many cases were measured, those that failed, and `summary`.

    Raises:
        OutputError: a file cannot be written, or one that Gridgate did not write is in its place.
    """
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["case", "label", "value", *METRICS, "status"])
    writer.writeheader()
    writer.writerows({"case": case, **row.as_row()} for case, row in rows)
    result = {
        "cases": len({case for case, _ in rows}),
        "failed": dict(failed),
        "checkpoint": checkpoint,
        "settings": None
        if settings is None
        else {name: settings[name] for name in HOW_RUN if name in settings},
        "post_processing": None if post_processing is None else list(post_processing),
        **summary([row for _, row in rows]),
    }
    # a file's name may hold bytes that are not UTF-8
    content = table.getvalue().encode("utf-8", errors="surrogateescape")
    output.write(METRICS_FILE, lambda stream: stream.write(content))
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    output.write(SUMMARY_FILE, lambda stream: stream.write(text.encode()))
    return result


def read_results(folder: Path) -> dict[str, dict[str, LabelMetrics]]:
    """Case -> label -> its measures, from a folder's metrics.csv.

    Raises:
        DatasetError: there is no such table, or it is no table of ours.
    """
    path = folder / METRICS_FILE
    found: dict[str, dict[str, LabelMetrics]] = {}
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                numbers: dict[str, Any] = {name: float(row[name] or "nan") for name in METRICS}
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
