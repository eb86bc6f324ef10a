"""Evaluating: masks as for inferring, then measured against the original label files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...data.datasets.label_map import LabelMap
from ...data.errors import ConfigError, GridgateError, OutputError
from ...data.events import emit
from ...data.label_tables.measured import Measured
from ...data.output_folder import OutputFolder
from ...data.progress import progressed
from ...transforms.postprocess import Postprocessing
from ...transforms.write.regions import WriteRegionsd
from ..batch.case_dataset import CaseDataset
from ..batch.evaluator import CaseEvaluator, CasesFailedError
from ..batch.reasons import reason
from ..batch.results.case_result import DONE
from .measure import CheckedLabels, check_label_placement, measure_files, measure_regions
from .metrics import LabelMetrics
from .results import LESIONS_FILE, METRICS_FILE, SUMMARY_FILE, write_results

logger = logging.getLogger(__name__)


def evaluate(
    evaluator: CaseEvaluator,
    *,
    label_map: Mapping[int, int] | None = None,
    measured: Mapping[str, Any] | None = None,
    page: Callable[[OutputFolder], object] | None = None,
) -> dict[str, Any]:
    """Segment the cases, then write output_dir/metrics.csv (per case and label) and summary.json.

    What is measured is the mask on disk against the label file, never a resampled label. A case
    whose label lies elsewhere than its image, or holds values that nobody named, fails with that
    reason before it is segmented.

    Args:
        evaluator: over items {"id", "image", "label"}.
        label_map: value in the label files -> the network's channel, see `data.datasets.label_map`;
            None or empty when they are the same.
        measured: of some labels how they are measured, see Measured.
        page: called with the output folder when the tables are there.

    Returns:
        What summary.json holds: mean, std, median, min, max and count per label and metric; the
        cases that failed.

    Raises:
        CasesFailedError: some cases failed; the others are measured.
        ConfigError: a case has no label, `measured` cannot be, the output folder is that of the
            dataset's files, or another run writes there.
        OutputError: a file of somebody else is in the place of metrics.csv or summary.json.
    """
    dataset: CaseDataset = evaluator.data_loader.dataset  # type: ignore[union-attr, assignment]
    items = {item["id"]: item for item in dataset.data}
    if any("label" not in item for item in items.values()):
        raise ConfigError(
            "there are no labels to measure these cases against; use the inferring workflow for "
            "them"
        )
    _refuse_folders_of(items.values(), evaluator.table.folder)
    how = Measured.of(measured, evaluator.table.labels)
    with evaluator.table.output as output:
        files = [METRICS_FILE, SUMMARY_FILE, *([LESIONS_FILE] if how.lesions else [])]
        output.refuse_foreign(files)
        failure = _segment(evaluator, dataset, label_map)
        failed = {row["case"]: row["reason"] for row in evaluator.table.failed}
        rows = _measure(evaluator, items, label_map, failed, how)
        after = evaluator.case_postprocessing
        table = evaluator.table
        told: dict[str, Any] = {"failed": failed, "checkpoint": table.checkpoint}
        told["settings"] = table.run_settings
        if isinstance(after, Postprocessing):
            told["post_processing"] = after.changes
        result = write_results(output, rows, **told)
        if page is not None:
            page(output)
    _close(result, evaluator.table.folder, failure)
    return result


def _close(result: Mapping[str, Any], folder: Path, failure: CasesFailedError | None) -> None:
    """Tell the end; raise what failed."""
    failed = result["failed"]
    told = {"cases": result["cases"], "failed": len(failed), "mean": result["mean"]}
    emit("evaluated", output=str(folder), **told)
    if failure is None and failed:
        case, why = next(iter(failed.items()))
        text = f"{len(failed)} cases could not be measured; first {case}: {why}"
        failure = CasesFailedError(text)
    if failure is not None:
        raise failure


def _refuse_folders_of(items: Iterable[Mapping[str, Any]], output_dir: Path) -> None:
    """Refuse an output folder in which the cases' own files lie."""
    for item in items:
        images = item["image"] if isinstance(item["image"], list | tuple) else [item["image"]]
        for path in (*images, item["label"]):
            if Path(path).resolve().parent == output_dir.resolve():
                raise ConfigError(
                    f"{output_dir}: results would lie among the dataset's files, and masks could "
                    f"overwrite them ({Path(path).name}); give another --output_dir"
                )


def _segment(
    evaluator: CaseEvaluator, dataset: CaseDataset, label_map: Mapping[int, int] | None
) -> CasesFailedError | None:
    """Run the cases, each after a look at its label; what is raised when some have failed."""
    plain = dataset.transform
    dataset.transform = CheckedLabels(plain, list(evaluator.table.labels), label_map)
    try:
        evaluator.run()
    except CasesFailedError as error:
        return error
    finally:
        dataset.transform = plain
    return None


def _measure(
    evaluator: CaseEvaluator,
    items: Mapping[str, Mapping[str, Any]],
    label_map: Mapping[int, int] | None,
    failed: dict[str, str],
    how: Measured,
) -> list[tuple[str, LabelMetrics]]:
    """Metrics of the cases that have a mask; why one cannot be measured is added to `failed`."""
    labels = list(evaluator.table.labels)
    outputs = {
        row["case"]: row["output"]
        for row in evaluator.table.rows
        if row["status"] == DONE and row["case"] in items
    }
    rows: list[tuple[str, LabelMetrics]] = []
    after = evaluator.case_postprocessing
    values = after.restore.region_values if isinstance(after, Postprocessing) else None
    if values is None and LabelMap.of(label_map).regions:
        raise ConfigError(
            "regions are measured by the masks that gridgate.transforms.postprocessing writes; use "
            "that as the postprocessing"
        )
    for case, name in progressed(sorted(outputs.items()), len(outputs), "measuring"):
        mask = evaluator.table.folder / name
        try:
            _refuse_changed(evaluator, name)
            check_label_placement(items[case])
            told: dict[str, Any] = {
                "label_map": LabelMap.of(label_map),
                "case": case,
                "unannotated": items[case].get("unannotated", ()),
                "measured": how,
            }
            if values is None:
                found = measure_files(mask, items[case]["label"], labels, **told)
            else:
                masks = _region_masks(evaluator, case)
                told["values"] = values
                found = measure_regions(masks, items[case]["label"], labels, **told)
            rows += [(case, row) for row in found]
        except GridgateError as error:
            failed[case] = reason(error)
            logger.error(f"{case}: {failed[case]}")
    return rows


def _region_masks(evaluator: CaseEvaluator, case: str) -> list[Path]:
    """The masks of a case's regions, in their order."""
    files = [WriteRegionsd.file(label, case) for label in evaluator.table.labels[1:]]
    for file in files:
        _refuse_changed(evaluator, file)
    return [evaluator.table.folder / file for file in files]


def _refuse_changed(evaluator: CaseEvaluator, file: str) -> None:
    if not evaluator.table.output.owns(file):
        raise OutputError(
            f"{evaluator.table.folder / file}: was changed since Gridgate wrote it, so it is not "
            "what these weights give; move it away and start again, or give another --output_dir"
        )
