"""cases.csv: what became of each case, written as it goes."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.errors import OutputError

DONE, FAILED = "ok", "failed"
STAGES = ("read", "preprocess", "forward", "restore", "write")


class CaseTable:
    """A row a case in output_dir/cases.csv, flushed to disk before the next case starts.

    Columns: case, input, output, status ("ok" or "failed"), reason, notes, checkpoint, seconds of each stage and
    in total, and for each foreground label its voxels and millilitres. An earlier run's rows are kept for cases
    that are done and are replaced for those that are tried again, so no case is in it twice.

    Args:
        labels: names of all channels in order, the background first.
    """

    def __init__(self, output_dir: str | Path, *, labels: Sequence[str]) -> None:
        self.folder = Path(output_dir)
        self.labels = list(labels)
        self.checkpoint = ""  # fingerprint of the weights; masks of other weights do not count as done
        self.path = self.folder / "cases.csv"
        self.rows: list[dict[str, Any]] = []
        self._stale: dict[str, Path] = {}  # masks of an earlier run that this one replaces

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        fixed = ["case", "input", "output", "status", "reason", "notes", "checkpoint"]
        fixed += [f"{stage}_s" for stage in (*STAGES, "total")]
        return fixed + [f"{name}_{unit}" for name in self.labels[1:] for unit in ("voxels", "ml")]

    def start(self, cases: Sequence[str], *, overwrite: bool = False) -> set[str]:
        """Take over an earlier run's rows; the ids among `cases` that are done and need not run again.

        Rows of cases that are not in this run stay as they are.

        Raises:
            OutputError: the folder cannot be written.
        """
        before, wanted = read_case_table(self.path), set(cases)
        done = [row for row in before if row["case"] in wanted and not overwrite and self._still_done(row)]
        others = [row for row in before if row["case"] not in wanted]
        self.rows = [dict(row) for row in done]
        redone = [row for row in before if row["case"] in wanted and row not in done and row.get("output")]
        self._stale = {row["case"]: self.folder / row["output"] for row in redone}
        beside = self.path.with_name(".cases.csv.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(beside, "w", newline="") as file:
                writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
                writer.writeheader()
                writer.writerows(others + done)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(f"{self.folder}: cannot write here ({error.strerror}); give another folder") from error
        return {row["case"] for row in done}

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one case's row; unknown keys are refused by csv.

        Raises:
            OutputError: the disk is full or the folder is read-only.
        """
        full = {"checkpoint": self.checkpoint, **row}
        self.rows.append(full)
        try:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self.columns, restval="").writerow(full)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write ({error.strerror})") from error

    def discard_stale(self, case: str) -> None:
        """Delete the mask that an earlier run left for a case that has now failed: it is of other weights."""
        if case in self._stale:
            self._stale[case].unlink(missing_ok=True)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows of this run's cases that failed."""
        return [row for row in self.rows if row["status"] == FAILED]

    def _still_done(self, row: Mapping[str, str]) -> bool:
        same = row.get("checkpoint") == self.checkpoint
        return same and row.get("status") == DONE and (self.folder / (row.get("output") or "?")).is_file()


def read_case_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a cases.csv, the last one a case; none where there is no file. A torn last line is left out."""
    if not Path(path).is_file():
        return []
    with open(path, newline="") as file:
        whole = [row for row in csv.DictReader(file) if None not in row.values() and None not in row]
    return list({row["case"]: row for row in whole}.values())
