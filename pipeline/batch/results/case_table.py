"""cases.csv: what became of each case, written as it goes."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError, OutputError
from ....data.images.names import MASK_SUFFIXES
from ....data.output_folder import OutputFolder
from ....transforms.write.levels import WriteLevelsd
from ....transforms.write.probabilities import WriteProbabilitiesd
from ....transforms.write.regions import WriteRegionsd
from .case_result import DONE, FAILED, PASSED_OVER, STAGES
from .table_file import CSV_OPTIONS, read_case_table

NAME = "cases.csv"
FIXED = (
    "case",
    "input",
    "output",
    "status",
    "reason",
    "hint_count",
    "hints",
    "notes",
    "dicom_seg_reason",
    "stamp",
    "checkpoint",
    "settings",
    *(f"{stage}_s" for stage in (*STAGES, "total", "network")),
    "windows",
    "windows_skipped",
    "engine",
    "margin",
    "mirror_agreement",
)
# what is needed of a row until the run ends; the rest would be much memory for many cases
_KEPT = ("case", "status", "reason", "output", "hint_count", "hints", "margin")
_CLOCK_NS = 2_000_000_000


class CaseTable:
    """A row per case in output_dir/cases.csv, on disk before the next case's.

    Columns: case, input, output, status ("ok", "failed", or "passed over" for what is no case),
    reason, hints at what looks wrong and their number, notes, why a DICOM SEG is missing,
    fingerprints of checkpoint and settings, seconds of each stage and in total, windows, and for
    each foreground label its voxels, millilitres and mean HU. An earlier run's rows are kept for
    cases that are done, with columns that somebody has added, and are replaced for those that are
    tried again, so no case is in it twice.
    A case is done when its mask is there, of the same weights and settings, and of an image whose
    files have not changed since (see `Case.stamp`).

    Args:
        output_dir: `output` is its OutputFolder, which a run enters while it writes there.
        labels: names of all channels in order, the background first.
        settings: what else decides a mask, see `workflow.run_settings`; masks of other settings do
            not count as done.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        labels: Sequence[str],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.output = OutputFolder(output_dir)
        self.folder = self.output.folder
        self.labels = list(labels)
        self.checkpoint = ""  # fingerprint of the weights; masks of others are not done
        self.run_settings = dict(settings or {})
        text = json.dumps(self.run_settings, sort_keys=True, default=str)
        self.settings = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.path = self.folder / NAME
        self.rows: list[dict[str, Any]] = []
        self._others_columns: list[str] = []
        self._stamps: dict[str, str] = {}
        self._earlier: dict[str, str] = {}  # case -> mask of an earlier run
        self._case_of: dict[str, str] = {}  # mask, of this run too -> case
        self._began_ns = 0  # by the clock of the folder's file system

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        return [
            *FIXED,
            *(f"{name}_{unit}" for name in self.labels[1:] for unit in ("voxels", "ml", "hu")),
            *self._others_columns,
        ]

    @property
    def whole_table(self) -> Path:
        """The table of all cases, where this one is of some of them."""
        return self.folder / NAME

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows of this run's cases that failed."""
        return [row for row in self.rows if row["status"] == FAILED]

    def start(
        self,
        cases: Mapping[str, tuple[str, str]],
        *,
        overwrite: bool = False,
        passed_over: Iterable[tuple[str, str]] = (),
        check: Callable[[set[str]], object] | None = None,
    ) -> set[str]:
        """Take over an earlier run's rows; the ids among `cases` that are done.

        Rows of cases that are not in this run stay as they are.

        Args:
            cases: id -> input as text, and its stamp.
            passed_over: inputs that are no case, such as a localizer: (source, why) each.
            check: told of what is done before anything is written; what it raises ends the run.

        Raises:
            OutputError: the folder cannot be written, or the table there cannot be read.
            ConfigError: the mask of another scan has the name of one of this run's, and `overwrite`
                is off.
        """
        before = self.read_before()
        own = set(self.columns)
        found = dict.fromkeys(name for row in before for name in row)
        self._others_columns = [name for name in found if name not in own]
        if before and self.output.is_new:
            self._adopt(before)
        if not overwrite:
            for row in before:
                self._refuse_other_scan(row, cases.get(row["case"]))
        counted = [row for row in before if not overwrite or self.is_of_this_run(row)]
        done = [row for row in counted if self.still_done(row, cases.get(row["case"]))]
        names = {row["case"] for row in done}
        if check is not None:
            check(names)
        self._stamps = {name: stamp for name, (_, stamp) in cases.items()}
        self._earlier = {row["case"]: row["output"] for row in before if row.get("output")}
        self._case_of = {mask: case for case, mask in self._earlier.items()}
        for row in done:
            row["input"] = cases[row["case"]][0]  # where it is now
        others = [
            row for row in before if row["case"] not in cases and row["status"] != PASSED_OVER
        ]
        self.rows = [_kept(row) for row in done]
        no_cases = [
            {"case": "", "input": source, "status": PASSED_OVER, "reason": why}
            for source, why in passed_over
        ]
        self.begin([*others, *done, *no_cases])
        self._began_ns = self.path.stat().st_mtime_ns
        return names

    def read_before(self) -> list[dict[str, str]]:
        """The rows of earlier runs, the last one per case.

        Raises:
            OutputError: the table there cannot be read.
        """
        return read_case_table(self.path)

    def begin(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put a table of these rows in the place of that of before.

        Raises:
            OutputError: it cannot be written.
        """
        text = self.lines(rows, header=True)
        self.output.record(NAME, any_content=True)
        self.output.write(NAME, lambda stream: stream.write(text))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one case's row; unknown keys are refused by csv.

        Raises:
            OutputError: the disk is full or the folder is read-only.
        """
        stamp = self._stamps.get(row["case"], "")
        self._case_of[str(row.get("output") or "")] = row["case"]
        full = {"stamp": stamp, "checkpoint": self.checkpoint, "settings": self.settings, **row}
        line = self.lines([full])
        try:
            whole = self.path.stat().st_size
            try:
                with open(self.path, "ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, whole)  # no half a row
                raise
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write ({error.strerror}); free space or mend it, and start "
                "again"
            ) from error
        self.rows.append(_kept(full))

    def kept_mask(self, case: str) -> str | None:
        """The mask that an earlier run has left of a case, if it is still there."""
        mask = self._earlier.get(case)
        if mask and self._is_there(mask):
            return mask
        # a row tells of no mask where the case had failed or was not reached since
        others = (f"{case}{suffix}" for suffix in MASK_SUFFIXES)
        return next((one for one in others if self._is_there(one) and self.output.owns(one)), None)

    def remove_stale(self, case: str, mask: str) -> None:
        """Remove what an earlier run wrote of a case that has now been done by this run.

        It is of other weights, settings or scans. What Gridgate did not write stays.

        Args:
            mask: that of this run.

        Raises:
            OutputError: it cannot be removed.
        """
        stale = {f"{case}{suffix}" for suffix in (*MASK_SUFFIXES, ".seg.dcm")}
        stale |= {self._earlier.get(case, "")}
        name = glob.escape(mask)
        stale |= {
            path.relative_to(self.folder).as_posix()
            for earlier in {name, glob.escape(f"{case}.nii.gz")}
            for folder in (WriteProbabilitiesd.folder, WriteRegionsd.folder, WriteLevelsd.folder)
            for path in self.folder.glob(f"{folder}/*/{earlier}")
        }
        # a.seg.nrrd may be the mask of another case, a.seg; and regions/liver/a.nii.gz that of one
        stale = {one for one in stale - {mask, ""} if self._case_of.get(one, case) == case}
        for relative in sorted(stale):
            path = self.output.path(relative)
            if path.is_file() and path.stat().st_mtime_ns < self._began_ns:
                self.output.remove(relative)

    def lines(self, rows: Iterable[Mapping[str, Any]], *, header: bool = False) -> bytes:
        """Rows as they stand in the file; unknown keys are refused by csv."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode(CSV_OPTIONS["encoding"], CSV_OPTIONS["errors"])

    def is_of_this_run(self, row: Mapping[str, str]) -> bool:
        """Whether a row of before is of this very run, which had been interrupted."""
        return False

    def _adopt(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Take the masks that a version without a manifest has entered in the table for ours.

        Not those that were changed after the last row was written.
        """
        if not (self.folder / NAME).exists():  # of shards, which are of this version
            return
        latest = (self.folder / NAME).stat().st_mtime_ns + _CLOCK_NS
        for row in rows:
            mask = row.get("output") or ""
            ours = row.get("status") == DONE and mask and self._is_there(mask)
            if ours and self.output.path(mask).stat().st_mtime_ns <= latest:
                self.output.record(mask)

    def still_done(self, row: Mapping[str, str], source: tuple[str, str] | None) -> bool:
        """Whether a row of before is of a mask that this run would make again.

        Args:
            source: the case's input as text and its stamp; None: it is not among the inputs.
        """
        if source is None or (row.get("checkpoint"), row.get("settings")) != (
            self.checkpoint,
            self.settings,
        ):
            return False
        return row.get("stamp") == source[1] and self._has_mask(row)

    def _has_mask(self, row: Mapping[str, str]) -> bool:
        return row.get("status") == DONE and self._is_there(row.get("output") or "")

    def _is_there(self, mask: str) -> bool:
        try:
            return self.output.path(mask).is_file()
        except OutputError:  # a table that was written by hand
            return False

    def _refuse_other_scan(self, row: Mapping[str, str], source: tuple[str, str] | None) -> None:
        """A scan that was only moved has its old stamp; another one has neither path nor stamp."""
        if (
            source is not None
            and self._has_mask(row)
            and row["input"] != source[0]
            and row.get("stamp") != source[1]
        ):
            raise ConfigError(
                f"{self.folder / row['output']} is the mask of {row['input']}; {source[0]} would "
                "overwrite it; give another --output_dir, or --overwrite True"
            )


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name, "") for name in _KEPT}
