"""Evaluating: masks as for inferring, then measured against the original label files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from ..batch.shards.tables import ShardTable, merged_rows
from .measure import CheckedLabels, check_label_placement, measure_files, measure_regions
from .metrics import LabelMetrics
from .results import LESIONS_FILE, METRICS_FILE, SUMMARY_FILE, write_results
from .shards import CaseMeasures, ShardMeasures, write_shards_results
from .statistics import summary

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
    measuring = _Measuring(evaluator, items, label_map, how)
    with evaluator.table.output as output:
        files = [METRICS_FILE, SUMMARY_FILE, *([LESIONS_FILE] if how.lesions else [])]
        output.refuse_foreign(files)
        if isinstance(evaluator.table, ShardTable):
            result, failure = _evaluate_shard(measuring, evaluator.table, dataset, page)
        else:
            failure = _segment(evaluator, dataset, label_map)
            failed = {row["case"]: row["reason"] for row in evaluator.table.failed}
            rows = measuring.all(failed)
            result = write_results(output, rows, failed=failed, **measuring.told)
            if page is not None:
                page(output)
    _close(result, evaluator.table.folder, failure)
    return result


def _evaluate_shard(
    measuring: _Measuring,
    table: ShardTable,
    dataset: CaseDataset,
    page: Callable[[OutputFolder], object] | None,
) -> tuple[dict[str, Any], CasesFailedError | None]:
    """Segment and measure a shard's cases; the last shard writes the tables of all.

    Returns:
        What summary.json would hold of what this shard did, and what is raised where some failed.
    """
    evaluator = measuring.evaluator
    shard = evaluator.shard
    assert shard is not None
    of_this: dict[str, CaseMeasures] = {}

    def measures() -> ShardMeasures:
        # the weights' fingerprint is known once the evaluator runs
        made = ShardMeasures(table.shared, how=measuring.how_measured, **measuring.told)
        made.announce()
        return made

    def measure(outputs: Mapping[str, str]) -> None:
        store = measures()
        known = store.known
        for case, name in progressed(sorted(outputs.items()), len(outputs), "measuring"):
            if case not in known:
                found = measuring.case(case, name)
                store.add(shard.name, found, measuring.files(case, name))
                known[case] = found
            of_this[case] = known[case]

    def end() -> None:
        own = dict(of_this)
        rows = [row for row in merged_rows(table.shared) if row["case"] in measuring.items]
        measure({row["case"]: row["output"] for row in rows if row["status"] == DONE})
        of_this.clear()
        of_this.update(own)
        write_shards_results(table.shared)
        if page is not None:
            page(table.shared)

    evaluator.after_each_shard = lambda: measure(measuring.outputs)
    evaluator.after_all_shards = end
    failure = _segment(evaluator, dataset, measuring.label_map)
    failed = {row["case"]: row["reason"] for row in table.failed}
    failed |= {one.case: one.failed for one in of_this.values() if one.failed}
    rows = [row for one in of_this.values() for row in one.rows]
    return {"cases": len(of_this), "failed": failed, **summary(rows)}, failure


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


@dataclass(frozen=True, eq=False)
class _Measuring:
    """How the cases of an evaluation are measured.

    Args:
        items: id -> the case's entry, with its label.
        label_map, how: see `evaluate`.
    """

    evaluator: CaseEvaluator
    items: Mapping[str, Mapping[str, Any]]
    label_map: Mapping[int, int] | None
    how: Measured

    @property
    def outputs(self) -> dict[str, str]:
        """Case -> mask, of those that have one."""
        return {
            row["case"]: row["output"]
            for row in self.evaluator.table.rows
            if row["status"] == DONE and row["case"] in self.items
        }

    @property
    def told(self) -> dict[str, Any]:
        """What summary.json says of the run."""
        table, after = self.evaluator.table, self.evaluator.case_postprocessing
        changes = after.changes if isinstance(after, Postprocessing) else None
        return {
            "checkpoint": table.checkpoint,
            "settings": table.run_settings,
            "post_processing": changes,
        }

    @property
    def how_measured(self) -> Any:
        """All that decides a measure but for the files."""
        known = LabelMap.of(self.label_map)
        labels = list(self.evaluator.table.labels)
        cases = sorted(
            (case, Path(item["label"]).name, sorted(item.get("unannotated", ())))
            for case, item in self.items.items()
        )
        told = (labels, sorted(known.items()), known.parts, known.regions, self.how, self._values)
        return *told, cases

    @property
    def _values(self) -> Sequence[int] | None:
        """What each region is written as; None where labels exclude each other."""
        after = self.evaluator.case_postprocessing
        return after.restore.region_values if isinstance(after, Postprocessing) else None

    def all(self, failed: dict[str, str]) -> list[tuple[str, LabelMetrics]]:
        """Metrics of the cases that have a mask; why one cannot be measured goes to `failed`."""
        outputs = self.outputs
        rows: list[tuple[str, LabelMetrics]] = []
        for case, name in progressed(sorted(outputs.items()), len(outputs), "measuring"):
            found = self.case(case, name)
            if found.failed:
                failed[case] = found.failed
            rows += [(case, row) for row in found.rows]
        return rows

    def files(self, case: str, name: str) -> list[Path]:
        """The files that a case is measured from."""
        labels = [] if self._values is None else self.evaluator.table.labels[1:]
        masks = [name, *(WriteRegionsd.file(label, case) for label in labels)]
        paths = [*(self.evaluator.table.folder / one for one in masks), self.items[case]["label"]]
        return [Path(os.path.abspath(path)) for path in paths if Path(path).exists()]

    def case(self, case: str, name: str) -> CaseMeasures:
        """One case.

        Args:
            name: of its mask.
        """
        labels = list(self.evaluator.table.labels)
        mask, item, values = self.evaluator.table.folder / name, self.items[case], self._values
        if values is None and LabelMap.of(self.label_map).regions:
            raise ConfigError(
                "regions are measured by the masks that gridgate.transforms.postprocessing writes; "
                "use that as the postprocessing"
            )
        try:
            _refuse_changed(self.evaluator, name)
            check_label_placement(item)
            told: dict[str, Any] = {
                "label_map": LabelMap.of(self.label_map),
                "case": case,
                "unannotated": item.get("unannotated", ()),
                "measured": self.how,
            }
            if values is None:
                found = measure_files(mask, item["label"], labels, **told)
            else:
                masks = _region_masks(self.evaluator, case)
                found = measure_regions(masks, item["label"], labels, values=values, **told)
            return CaseMeasures(case, tuple(found))
        except GridgateError as error:
            why = reason(error)
            logger.error(f"{case}: {why}")
            return CaseMeasures(case, failed=why)


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
