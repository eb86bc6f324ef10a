"""The scans that one shard has found, for the others: millions of slices are looked into once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from ....data.dicom.series import DicomSeries
from ....data.files import write_atomically
from ....data.inputs.find import Inputs
from ....data.shared_folder import SharedFolder
from ....data.walk import PassedOver
from .locks import any_running, tried

logger = logging.getLogger("gridgate.shards")

_NAME = "listing.jsonl"
_BEGAN = time.time()  # this process: what was listed later is as good as its own listing


def shared_listing(
    output_dir: str | Path, what: Sequence[Any], find: Callable[[], Inputs]
) -> Inputs:
    """What another shard has found, where it is of now; else what `find` finds, for the others too.

    It is of now where it was made after this process began, or while shards are at work: they are
    one run, which has one list. Others wait for the shard that lists.

    Args:
        output_dir: of the run.
        what: all that decides what is found; it can be written as JSON.
        find: looks.

    Raises:
        ConfigError: another run, which is no shard, is writing there.
        OutputError: the folder cannot be written.
    """
    folder = SharedFolder(output_dir)
    with folder.gate():  # makes the folder, or says why it cannot be
        pass
    path = folder.records / _NAME
    with _waited_for(folder.records / "listing.lock"):
        with folder.gate():
            running = any_running(folder.records)
        found = _read(path, what, since=0.0 if running else _BEGAN)
        if found is None:
            found = find()
            lines = list(_lines(found, what))
            with folder, folder.gate():  # so that nobody tidies up meanwhile: this is no shard yet
                write_atomically(path, lambda stream: _write(stream, lines))
        else:
            logger.info(f"{len(found.cases)} scans, as another shard has listed them")
    return found


@contextmanager
def _waited_for(path: Path) -> Iterator[None]:
    """Hold a lock; where it is held, wait with a word."""
    lock = tried(path)
    if lock is None:
        logger.info("another shard lists the scans; waiting for it")
        lock = FileLock(path, thread_local=False)
        lock.acquire(poll_interval=1.0)
    try:
        yield
    finally:
        lock.release()


def _lines(found: Inputs, what: Sequence[Any]) -> Iterator[dict[str, Any]]:
    yield {"made": time.time(), "of": json.dumps(list(what)), "cases": len(found.cases)}
    for case in found.cases:
        image = case["image"]
        if isinstance(image, DicomSeries):
            image = {name: _plain(value) for name, value in asdict(image).items()}
        yield {**case, "image": image}
    for one in found.passed_over:
        yield {"source": one.source, "note": one.note}


def _read(path: Path, what: Sequence[Any], *, since: float) -> Inputs | None:
    """The listing in a file; None where there is none, of something else or of before."""
    with suppress(OSError, ValueError, KeyError, TypeError), open(path, "rb") as stream:
        head = json.loads(stream.readline())
        if head["of"] != json.dumps(list(what)) or head["made"] < since:
            return None
        rows = [json.loads(line) for line in stream]
        cases = [{**row, "image": _image(row["image"])} for row in rows[: head["cases"]]]
        return Inputs(cases, [PassedOver(**row) for row in rows[head["cases"] :]])
    return None


def _image(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    archive = None if value["archive"] is None else Path(value["archive"])
    paths = {"folder": Path(value["folder"]), "archive": archive}
    texts = {name: tuple(value[name]) for name in ("files", "notes")}
    return DicomSeries(**{**value, **paths, **texts})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _write(stream: BinaryIO, lines: Sequence[dict[str, Any]]) -> None:
    for line in lines:
        stream.write(json.dumps(line).encode() + b"\n")
