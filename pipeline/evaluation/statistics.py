"""Statistics of the metrics over cases, per label."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .metrics import METRICS, LabelMetrics


def summary(rows: Sequence[LabelMetrics]) -> dict[str, Any]:
    """Statistics over cases, ready for json.dump: what is undefined is None, never NaN.

    Args:
        rows: of all cases and labels.

    Returns:
        {"labels": {label: {"value", "cases", "counts": {...}, <metric>: {"mean", "std", "median",
        "min", "max", "count", "nan"}}}, "mean": {<metric>: number or None}}, labels in the order of
        their first row; a label that is lesions has "lesions" as well: how many the reference has,
        how many were predicted and found, F1 of all cases' lesions together, and the statistics of
        each case's measures. "cases" and all else are of the cases in which the label was
        annotated.

        Statistics ignore NaN; "count" cases have a number and "nan" have none. "std" is over the
        cases themselves (numpy's default, ddof 0). "counts" says what the NaNs are: "both_empty"
        (not counted), "prediction_empty" (a missed label) and "reference_empty" (an invented one);
        in the last two the distances failed, and "failed_distances" is their sum. "mean" of a
        metric is the mean, over the labels
        that have one, of their means: every label counts the same.
    """
    by_label: dict[str, list[LabelMetrics]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    labels: dict[str, dict[str, Any]] = {}
    means: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for name, rows_of_label in by_label.items():
        of_label = [row for row in rows_of_label if row.annotated]
        entry: dict[str, Any] = {
            "value": rows_of_label[0].value,
            "cases": len(of_label),
            "counts": _counts(of_label),
        }
        for metric in METRICS:
            numbers = [getattr(row, metric) for row in of_label]
            entry[metric] = statistics = _statistics(numbers)
            if statistics["mean"] is not None:
                means[metric].append(statistics["mean"])
        if any(row.lesions is not None for row in of_label):
            entry["lesions"] = _lesions(of_label)
        labels[name] = entry
    return {
        "labels": labels,
        "mean": {
            metric: float(np.mean(values)) if values else None for metric, values in means.items()
        },
    }


def _counts(rows: Sequence[LabelMetrics]) -> dict[str, int]:
    """How many cases have the label in neither mask, and in only one of the two."""
    empty = [(row.volume_prediction_ml == 0, row.volume_reference_ml == 0) for row in rows]
    missed, invented = empty.count((True, False)), empty.count((False, True))
    return {
        "both_empty": empty.count((True, True)),
        "prediction_empty": missed,
        "reference_empty": invented,
        "failed_distances": missed + invented,
    }


def _lesions(rows: Sequence[LabelMetrics]) -> dict[str, Any]:
    """Lesions of all cases counted together, and the statistics of each case's measures."""
    found = [row.lesions for row in rows if row.lesions is not None]
    reference = sum(one.reference for one in found)
    prediction = sum(one.prediction for one in found)
    both = sum(one.found for one in found)
    total = reference + prediction
    return {
        "reference": reference,
        "prediction": prediction,
        "found": both,
        "f1_of_all": 2 * both / total if total else None,
        "f1": _statistics([one.f1 for one in found]),
        "panoptic_quality": _statistics([one.quality for one in found]),
        "dice": _statistics([one.dice for one in found]),
    }


def _statistics(numbers: Sequence[float]) -> dict[str, float | None]:
    """Mean and so on of the numbers that are not NaN; None where there are none."""
    defined = np.array([number for number in numbers if not math.isnan(number)], dtype=np.float64)
    found = {
        name: float(function(defined)) if defined.size else None
        for name, function in (
            ("mean", np.mean),
            ("std", np.std),
            ("median", np.median),
            ("min", np.min),
            ("max", np.max),
        )
    }
    return {**found, "count": defined.size, "nan": len(numbers) - defined.size}
