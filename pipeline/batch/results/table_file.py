"""Reading a cases.csv, also one that was cut off or saved by a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ....data.errors import OutputError
from ....data.output_folder import PRIVATE

_FIRST = ["case", "input", "output", "status"]  # columns of every table of ours
# a file's name may hold bytes that are not UTF-8
CSV_OPTIONS: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def read_case_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a cases.csv, the last one per case; none where there is no file.

    A torn last line is left out. A table that a spreadsheet has saved (byte order mark, semicolons)
    is read too.

    Raises:
        OutputError: it is no table of cases.
    """
    if not Path(path).is_file():
        return []
    with open(path, **{**CSV_OPTIONS, "encoding": "utf-8-sig"}) as file:
        text = file.read()
    whole_lines = text[: text.rfind("\n") + 1]
    header = whole_lines.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = [
        row
        for row in csv.DictReader(io.StringIO(whole_lines, newline=""), delimiter=delimiter)
        if None not in row.values() and None not in row
    ]
    columns = header.strip().replace('"', "").split(delimiter)
    if text and columns[: len(_FIRST)] != _FIRST:
        raise OutputError(
            f"{path}: this is no table of cases; move it away, or give another --output_dir"
        )
    # what was passed over has no id
    return list({row["case"] or row.get("input", ""): row for row in rows}.values())


def is_output_folder(folder: Path) -> bool:
    """Whether an inference or evaluation has written there: its masks are no scans.

    Also shards that have not put their tables together yet.
    """
    if (folder / PRIVATE / "shards").is_dir():
        return True
    try:
        with open(folder / "cases.csv", encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(1000).replace('"', "")
    except OSError:
        return False
    return any(header.startswith(delimiter.join(_FIRST)) for delimiter in ",;\t")
