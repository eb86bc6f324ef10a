"""What the shards of an evaluation have measured, each for itself, and the tables of all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...data.errors import OutputError
from ...data.files import write_atomically
from ...data.manifest import mark_of
from ...data.shared_folder import SharedFolder
from ..batch.results.case_result import DONE, FAILED
from ..batch.shards.record import Round
from ..batch.shards.tables import merged_rows
from .lesions import Lesion, LesionMetrics
from .metrics import LabelMetrics
from .results import HOW_RUN, write_results

_HOW = "evaluation.json"


@dataclass(frozen=True)
class CaseMeasures:
    """One case's, or why it could not be measured.

    Args:
        rows: a label each.
        failed: "" where it was measured.
    """

    case: str
    rows: tuple[LabelMetrics, ...] = ()
    failed: str = ""


class ShardMeasures:
    """The measures of the cases of a folder, in a file per shard that no other process writes.

    They count as long as the mask and the label file are the same, and how they are measured.

    Args:
        folder: of the run.
        how: all that decides a measure but for the files; it can be written as JSON.
        settings, post_processing, checkpoint: as summary.json tells them.
    """

    def __init__(
        self,
        folder: SharedFolder,
        *,
        how: Any,
        settings: Mapping[str, Any],
        post_processing: Sequence[str] | None,
        checkpoint: str,
    ) -> None:
        self.folder = folder
        self.key = hashlib.sha256(repr(how).encode()).hexdigest()[:12]
        self.told = {
            "key": self.key,
            "checkpoint": checkpoint,
            "settings": {name: settings[name] for name in HOW_RUN if name in settings},
            "post_processing": None if post_processing is None else list(post_processing),
        }

    def announce(self) -> None:
        """Write down how cases are measured, for whoever puts the tables together.

        Raises:
            OutputError: the system refuses.
        """
        content = json.dumps(self.told).encode()
        write_atomically(self.folder.records / _HOW, lambda stream: stream.write(content))

    @cached_property
    def known(self) -> dict[str, CaseMeasures]:
        """What all shards had measured when this was first asked."""
        return measured_by_shards(self.folder, self.key)

    def add(self, shard: str, found: CaseMeasures, files: Iterable[str | Path]) -> None:
        """Append one case's.

        Args:
            shard: the name of this one.
            files: mask and label.

        Raises:
            OutputError: the system refuses.
        """
        line = {
            "key": self.key,
            "files": {str(path): mark_of(Path(path)) for path in files},
            **asdict(found),
        }
        path = self.folder.records / f"measures-{shard}.jsonl"
        try:
            with open(path, "ab") as stream:
                stream.write(b"\n" + json.dumps(line).encode())  # after what a kill cut off, too
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); free space and start again"
            ) from error


def measured_by_shards(folder: SharedFolder, key: str) -> dict[str, CaseMeasures]:
    """Case -> what was measured, of files that are as they were then.

    Args:
        key: of ShardMeasures.
    """
    found = {}
    for path in sorted(folder.records.glob("measures-*.jsonl")):
        for text in path.read_bytes().splitlines():
            with suppress(ValueError, TypeError, KeyError):
                line = json.loads(text)
                if line["key"] == key and _unchanged(line["files"]):
                    rows = tuple(_row(row) for row in line["rows"])
                    found[line["case"]] = CaseMeasures(line["case"], rows, line["failed"])
    return found


def write_shards_results(folder: SharedFolder) -> dict[str, Any] | None:
    """Write metrics.csv and summary.json of what all shards have measured, at the gate.

    Returns:
        What summary.json holds; None where no shards have evaluated there.

    Raises:
        OutputError: see write_results.
    """
    try:
        told = json.loads((folder.records / _HOW).read_bytes())
    except FileNotFoundError:
        return None
    run = Round.read(folder.records)
    if run is None:
        return None
    found = measured_by_shards(folder, told.pop("key"))
    fingerprints = (run.checkpoint, run.settings)
    rows = {
        row["case"]: row
        for row in merged_rows(folder)
        if (row.get("checkpoint"), row.get("settings")) == fingerprints
    }
    failed = {case: row["reason"] for case, row in rows.items() if row["status"] == FAILED}
    done = [case for case in sorted(run.wanted) if case in rows and rows[case]["status"] == DONE]
    measured = [found[case] for case in done if case in found]
    failed |= {one.case: one.failed for one in measured if one.failed}
    lines = [(one.case, row) for one in measured for row in one.rows]
    missing = len(set(run.wanted) - {one.case for one in measured} - failed.keys())
    return write_results(folder, lines, failed=failed, missing=missing, **told)


def _unchanged(files: Mapping[str, Sequence[int] | None]) -> bool:
    return all(
        mark is not None and mark_of(Path(path)) == tuple(mark) for path, mark in files.items()
    )


def _row(content: dict[str, Any]) -> LabelMetrics:
    lesions = content.pop("lesions")
    if lesions is None:
        return LabelMetrics(**content)
    each = tuple(
        Lesion(**{**one, "centre_mm": tuple(one["centre_mm"])}) for one in lesions["lesions"]
    )
    return LabelMetrics(**content, lesions=LesionMetrics(each))
