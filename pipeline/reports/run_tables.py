"""The tables of a run's folder, each read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..batch.results.case_result import DONE, FAILED
from ..batch.results.table_file import read_case_table
from ..evaluation.metrics import LabelMetrics
from ..evaluation.results import read_results, read_summary


@dataclass(frozen=True)
class RunTables:
    """What an evaluation, or a run over scans, left in its folder.

    Args:
        folder: the output folder; of a run over scans there is cases.csv alone.

    Raises (each table when it is asked for):
        DatasetError: it is missing or damaged.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Of cases.csv."""
        return read_case_table(self.folder / "cases.csv")

    @property
    def done(self) -> list[dict[str, str]]:
        """The rows of cases that have a mask."""
        return [row for row in self.rows if row["status"] == DONE]

    @property
    def failed(self) -> dict[str, str]:
        """Case -> why it failed, of cases.csv; an evaluation's summary knows of more."""
        return {
            row["case"]: row.get("reason") or "" for row in self.rows if row["status"] == FAILED
        }

    @cached_property
    def results(self) -> dict[str, dict[str, LabelMetrics]]:
        """Case -> label -> its measures, of metrics.csv."""
        return read_results(self.folder)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return read_summary(self.folder)
