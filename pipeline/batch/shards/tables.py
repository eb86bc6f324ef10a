"""The shards' tables, and one table of them all: cases.csv."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ....data.files import write_atomically
from ....data.output_folder import OutputFolder
from ....data.shared_folder import SharedFolder
from ..results.case_result import FAILED, PASSED_OVER
from ..results.case_table import FIXED, NAME, CaseTable
from ..results.table_file import CSV_OPTIONS, read_case_table
from .locks import any_running
from .shard import Shard

_AT = "at"  # when a row was written, in seconds since 1970: the latest of a case counts

_WITHDRAWN = "withdrawn"  # status of a case whose earlier row counts no more

Row = Mapping[str, Any]


class ShardTable(CaseTable):
    """The rows of one shard, in a table that no other process writes.

    What was done before is known from all tables. A mask that another shard has made is not made
    again.

    Args:
        table: of the run, which says labels and settings.
        shard: whose rows they are.
    """

    def __init__(self, table: CaseTable, shard: Shard) -> None:
        super().__init__(table.folder, labels=table.labels, settings=table.run_settings)
        self.shared = SharedFolder(table.folder)
        self.output = self.shared
        self.path = self.shared.records / f"{shard.name}.csv"
        self.since = float("inf")  # when this shard began, where it goes on
        self._earlier_cases: set[str] = set()

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
        return [*super().columns, _AT]

    def read_before(self) -> list[dict[str, str]]:
        """The rows of earlier runs and of all shards."""
        found = merged_rows(self.shared)
        self._earlier_cases = {row["case"] for row in found if row["status"] != PASSED_OVER}
        return found

    def is_of_this_run(self, row: Row) -> bool:
        """Whether a row is of this shard's own run, which had been interrupted."""
        return float(row.get(_AT) or 0) >= self.since

    def begin(self, rows: Iterable[Row]) -> None:
        """Put a table of these rows in the place of the own one of before.

        Rows that stand in other tables stay there; those of cases that are to be done count no more
        from now on, as their masks are about to be replaced.
        """
        kept = list(rows)
        mine = {row["case"]: row[_AT] for row in read_case_table(self.path)}
        own = [
            row
            for row in kept
            if row["status"] == PASSED_OVER or (row.get(_AT) and mine.get(row["case"]) == row[_AT])
        ]
        withdrawn = self._earlier_cases - {row["case"] for row in kept}
        own += [{"case": case, "status": _WITHDRAWN, _AT: _now()} for case in sorted(withdrawn)]
        text = self.lines(own, header=True)
        write_atomically(self.path, lambda stream: stream.write(text))

    def add(self, row: Row) -> None:
        """Append one case's row, with the time."""
        super().add({**row, _AT: _now()})

    def take_over(self, cases: Mapping[str, tuple[str, str]], *, since: float) -> set[str]:
        """Take cases of another shard as well; those of them that are through.

        Args:
            cases: id -> input as text, and its stamp.
            since: when that shard began; what has failed since then is not tried again.
        """
        before = {row["case"]: row for row in self.read_before() if row["case"] in cases}
        self._stamps |= {name: stamp for name, (_, stamp) in cases.items()}
        for name, row in before.items():
            if row.get("output"):
                self._earlier[name] = row["output"]
                self._case_of[row["output"]] = name
        return {
            name
            for name, row in before.items()
            if self.still_done(row, cases[name]) or self._has_failed(row, since)
        }

    def _has_failed(self, row: Row, since: float) -> bool:
        return row["status"] == FAILED and float(row.get(_AT) or 0) >= since


def merged_rows(folder: OutputFolder | SharedFolder) -> list[dict[str, str]]:
    """The rows of cases.csv and of all shards' tables, one per case: the latest.

    Raises:
        OutputError: a table cannot be read.
    """
    tables = [read_case_table(path) for path in shard_tables(folder)]
    found = {_key(row): row for row in read_case_table(folder.folder / NAME)}
    if tables:  # what was passed over is what these shards have passed over
        found = {key: row for key, row in found.items() if row["status"] != PASSED_OVER}
    rows = [row for table in tables for row in table]
    for row in sorted(rows, key=lambda row: float(row.get(_AT) or 0)):
        found[_key(row)] = row
    return [row for row in found.values() if row["status"] != _WITHDRAWN]


def write_merged(folder: OutputFolder, rows: Sequence[Row]) -> None:
    """Write cases.csv of these rows.

    Raises:
        OutputError: the system refuses, or somebody else's file is in its place.
    """
    named = dict.fromkeys(name for row in rows for name in row if name != _AT)
    columns = [*FIXED, *(name for name in named if name not in FIXED)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode(CSV_OPTIONS["encoding"], CSV_OPTIONS["errors"])
    folder.record(NAME, any_content=True)
    folder.write(NAME, lambda stream: stream.write(content))


def fold(folder: OutputFolder) -> bool:
    """Put the shards' tables into cases.csv, where no shard runs; whether there were any.

    Raises:
        OutputError: see merged_rows and write_merged.
    """
    tables = shard_tables(folder)
    if tables:
        write_merged(folder, merged_rows(folder))
        for path in tables:  # after: one that is left behind is put in once more, to no effect
            with suppress(FileNotFoundError):
                path.unlink()
    return bool(tables)


def merge(folder: SharedFolder) -> bool:
    """Bring cases.csv up to date, at the gate, whether shards run or not; whether there was news.

    Raises:
        OutputError: see merged_rows and write_merged.
    """
    if not any_running(folder.records):
        folder.tidy_up()
        return fold(folder)
    found = bool(shard_tables(folder))
    if found:
        write_merged(folder, merged_rows(folder))
    return found


def records_of(folder: OutputFolder) -> Path:
    """Where the shards of a folder keep their records."""
    return SharedFolder(folder.folder).records


def shard_tables(folder: OutputFolder) -> list[Path]:
    """The tables that are not in cases.csv for good."""
    return sorted(records_of(folder).glob("*-of-*.csv"))


def _now() -> str:
    return f"{time.time():.3f}"


def _key(row: Row) -> str:
    return str(row["case"] or row.get("input", ""))
