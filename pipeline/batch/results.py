"""cases.csv: what became of each case, written as it goes."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError, OutputError

DONE, FAILED, PASSED_OVER = "ok", "failed", "passed over"
PROBABILITIES = "probabilities"  # the folder below the masks
# a file's name may hold bytes that are not UTF-8
_CSV: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
STAGES = ("read", "resample", "forward", "restore", "write")


class CaseTable:
    """A row a case in output_dir/cases.csv, flushed to disk before the next case starts.

    Columns: case, input, output, status ("ok", "failed", or "passed over" for what is no case),
    reason, hints at what looks wrong and their number, notes, fingerprints of checkpoint and
    settings, seconds of each stage and in total, windows, and for each foreground label its voxels,
    millilitres and mean HU. An earlier run's rows are kept for cases that are done and are replaced
    for those that are tried again, so no case is in it twice. A case is done when its mask is
    there, of the same weights and settings, and of a scan that has not changed since (see `stamp`).

    Args:
        labels: names of all channels in order, the background first.
        settings: what else decides a mask (spacing, overlap, ...); masks of other settings do not
            count as done.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        labels: Sequence[str],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(output_dir)
        self.labels = list(labels)
        self.checkpoint = (
            ""  # fingerprint of the weights; masks of other weights do not count as done
        )
        text = json.dumps(dict(settings or {}), sort_keys=True, default=str)
        self.settings = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.path = self.folder / "cases.csv"
        self.rows: list[dict[str, Any]] = []
        self._stamps: dict[str, str] = {}
        self._began_ns = 0  # by the clock of the folder's file system

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
            "stamp",
            "checkpoint",
            "settings",
        ]
        fixed += [f"{stage}_s" for stage in (*STAGES, "total", "network")]
        fixed += ["windows", "windows_skipped", "margin", "mirror_agreement"]
        return fixed + [
            f"{name}_{unit}" for name in self.labels[1:] for unit in ("voxels", "ml", "hu")
        ]

    def start(self, cases: Mapping[str, tuple[str, str]], *, overwrite: bool = False) -> set[str]:
        """Take over an earlier run's rows; the ids among `cases` that are done and need not run again.

        Rows of cases that are not in this run stay as they are.

        Args:
            cases: id -> input as text, and its stamp.

        Raises:
            OutputError: the folder cannot be written, or the table there cannot be read.
            ConfigError: the mask of another scan has the name of one of this run's, and `overwrite`
                is off.
        """
        before = read_case_table(self.path)
        if not overwrite:
            for row in before:
                self._refuse_other_scan(row, cases.get(row["case"]))
        self._stamps = {name: stamp for name, (_, stamp) in cases.items()}
        done = [
            row for row in before if not overwrite and self._still_done(row, cases.get(row["case"]))
        ]
        for row in done:
            row["input"] = cases[row["case"]][0]  # where it is now
        others = [
            row for row in before if row["case"] not in cases and row["status"] != PASSED_OVER
        ]
        self.rows = [_kept(row) for row in done]
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
            self._began_ns = self.path.stat().st_mtime_ns
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(
                f"{self.folder}: cannot write here ({error.strerror}); give another folder"
            ) from error
        return {row["case"] for row in done}

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one case's row; unknown keys are refused by csv.

        Raises:
            OutputError: the disk is full or the folder is read-only.
        """
        stamp = self._stamps.get(row["case"], "")
        full = {"stamp": stamp, "checkpoint": self.checkpoint, "settings": self.settings, **row}
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
                f"{self.path}: cannot write ({error.strerror}); free space or mend it, and start "
                "again"
            ) from error
        self.rows.append(_kept(full))

    def pass_over(self, source: str, note: str) -> None:
        """Add a row for an input that is no case, such as a localizer."""
        self.add(
            {
                "case": "",
                "input": source,
                "status": PASSED_OVER,
                "reason": note,
                "checkpoint": "",
                "settings": "",
            }
        )

    def discard_stale(self, case: str) -> None:
        """Delete what an earlier run left of a case that has ended now: it is of other weights, settings or scans.

        That is its mask, where it failed, and the files beside the mask that this run has not
        written.

        Raises:
            OutputError: it cannot be deleted.
        """
        probabilities = self.folder.glob(f"{PROBABILITIES}/*/{glob.escape(case)}.nii.gz")
        try:
            for path in (
                self.folder / f"{case}.nii.gz",
                self.folder / f"{case}.seg.dcm",
                *probabilities,
            ):
                if path.is_file() and path.stat().st_mtime_ns < self._began_ns:
                    path.unlink()
        except OSError as error:
            raise OutputError(
                f"{path}: an earlier run's file cannot be deleted ({error.strerror})"
            ) from error

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows of this run's cases that failed."""
        return [row for row in self.rows if row["status"] == FAILED]

    def _still_done(self, row: Mapping[str, str], source: tuple[str, str] | None) -> bool:
        if source is None or (row.get("checkpoint"), row.get("settings")) != (
            self.checkpoint,
            self.settings,
        ):
            return False
        return row.get("stamp") == source[1] and self._has_mask(row)

    def _has_mask(self, row: Mapping[str, str]) -> bool:
        return row.get("status") == DONE and (self.folder / (row.get("output") or "?")).is_file()

    def _refuse_other_scan(self, row: Mapping[str, str], source: tuple[str, str] | None) -> None:
        """A scan that was only moved has its old stamp; another one of the same name has neither path nor stamp."""
        if (
            source is not None
            and self._has_mask(row)
            and row["input"] != source[0]
            and row.get("stamp") != source[1]
        ):
            raise ConfigError(
                f"{self.folder / row['output']} is the mask of {row['input']}; {source[0]} would "
                "overwrite it; "
                "give another --output_dir, or --overwrite True"
            )


def read_case_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a cases.csv, the last one a case; none where there is no file. A torn last line is left out.

    A table that a spreadsheet has saved (byte order mark, semicolons) is read too.

    Raises:
        OutputError: it is no table of cases.
    """
    if not Path(path).is_file():
        return []
    with open(path, **{**_CSV, "encoding": "utf-8-sig"}) as file:
        text = file.read()
    whole_lines = text[: text.rfind("\n") + 1]
    header = whole_lines.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = [
        row
        for row in csv.DictReader(io.StringIO(whole_lines, newline=""), delimiter=delimiter)
        if None not in row.values() and None not in row
    ]
    if whole_lines and not {"case", "status"} <= set(
        header.strip().replace('"', "").split(delimiter)
    ):
        raise OutputError(
            f"{path}: this is no table of cases; move it away, or give another --output_dir"
        )
    # what was passed over has no id
    return list({row["case"] or row.get("input", ""): row for row in rows}.values())


def is_output_folder(folder: Path) -> bool:
    """Whether an inference or evaluation has written there: its masks are no scans."""
    try:
        with open(folder / "cases.csv", "rb") as file:
            return (
                file.read(64).removeprefix(b"\xef\xbb\xbf").startswith(b"case,input,output,status")
            )
    except OSError:
        return False


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed of a row until the run ends; the rest would be much memory for many cases and labels."""
    return {
        name: row.get(name, "")
        for name in ("case", "status", "reason", "hint_count", "hints", "margin")
    }
