"""cases.csv: what became of each case, written as it goes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.errors import OutputError

DONE, FAILED, PASSED_OVER = "ok", "failed", "passed over"
# a file's name may hold bytes that are not UTF-8
_CSV: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
STAGES = ("read", "resample", "forward", "restore", "write")


class CaseTable:
    """A row a case in output_dir/cases.csv, flushed to disk before the next case starts.

    Columns: case, input, output, status ("ok", "failed", or "passed over" for what is no case), reason, hints at what
    looks wrong and their number, notes, fingerprints of checkpoint and settings, seconds of each stage and in total,
    windows, and for each foreground label its voxels, millilitres and mean HU. An earlier run's rows are kept for
    cases that are done and are replaced for those that are tried again, so no case is in it twice.

    Args:
        labels: names of all channels in order, the background first.
        settings: what else decides a mask (spacing, overlap, ...); masks of other settings do not count as done.
    """

    def __init__(
        self, output_dir: str | Path, *, labels: Sequence[str], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(output_dir)
        self.labels = list(labels)
        self.checkpoint = ""  # fingerprint of the weights; masks of other weights do not count as done
        text = json.dumps(dict(settings or {}), sort_keys=True, default=str)
        self.settings = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.path = self.folder / "cases.csv"
        self.rows: list[dict[str, Any]] = []

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        fixed = [
            "case",
            "input",
            "output",
            "status",
            "reason",
            "hint_count",
            "hints",
            "notes",
            "checkpoint",
            "settings",
        ]
        fixed += [f"{stage}_s" for stage in (*STAGES, "total", "network")]
        fixed += ["windows", "windows_skipped", "margin", "mirror_agreement"]
        return fixed + [f"{name}_{unit}" for name in self.labels[1:] for unit in ("voxels", "ml", "hu")]

    def start(self, cases: Mapping[str, str], *, overwrite: bool = False) -> set[str]:
        """Take over an earlier run's rows; the ids among `cases` (id -> input) that are done and need not run again.

        Rows of cases that are not in this run stay as they are.

        Raises:
            OutputError: the folder cannot be written.
        """
        before = read_case_table(self.path)
        done = [row for row in before if not overwrite and self._still_done(row, cases.get(row["case"]))]
        others = [row for row in before if row["case"] not in cases and row["status"] != PASSED_OVER]
        self.rows = [dict(row) for row in done]
        beside = self.path.with_name(".cases.csv.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(beside, "w", **_CSV) as file:
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
        full = {"checkpoint": self.checkpoint, "settings": self.settings, **row}
        try:
            whole = self.path.stat().st_size
            try:
                with open(self.path, "a", **_CSV) as file:
                    csv.DictWriter(file, self.columns, restval="").writerow(full)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, whole)  # no half a row
                raise
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write ({error.strerror}); free space or mend it, and start again"
            ) from error
        self.rows.append(full)

    def pass_over(self, source: str, note: str) -> None:
        """Add a row for an input that is no case, such as a localizer."""
        self.add({"case": "", "input": source, "status": PASSED_OVER, "reason": note, "checkpoint": "", "settings": ""})

    def discard_stale(self, case: str) -> None:
        """Delete the mask that an earlier run left for a case that has now failed: it is of other weights or scans."""
        (self.folder / f"{case}.nii.gz").unlink(missing_ok=True)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows of this run's cases that failed."""
        return [row for row in self.rows if row["status"] == FAILED]

    def _still_done(self, row: Mapping[str, str], source: str | None) -> bool:
        same = (row["input"], row.get("checkpoint"), row.get("settings")) == (source, self.checkpoint, self.settings)
        return same and row.get("status") == DONE and (self.folder / (row.get("output") or "?")).is_file()


def read_case_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a cases.csv, the last one a case; none where there is no file. A torn last line is left out."""
    if not Path(path).is_file():
        return []
    with open(path, **_CSV) as file:
        whole = [row for row in csv.DictReader(file) if None not in row.values() and None not in row]
    # what was passed over has no id
    return list({row["case"] or row["input"]: row for row in whole}.values())
