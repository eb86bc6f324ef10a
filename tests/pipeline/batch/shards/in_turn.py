"""Shards one after another in this process, some of which die."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.shared_folder import SharedFolder
from gridgate.pipeline.batch.results.table_file import read_case_table
from gridgate.pipeline.batch.shards.standing import Standing, standing

from ..threshold import evaluator

NAMES = [f"case_{number:02}" for number in range(10)]


def shard(items: list[dict[str, Any]], out: Path, which: str | None, **options: Any) -> Any:
    engine = evaluator(items, out, shard=which, **options)
    engine.run()
    return engine


def dies(
    items: list[dict[str, Any]], out: Path, which: str, *, after: int = 1, **options: Any
) -> None:
    """A shard that ends at its case number `after` + 1, before that has a row."""
    engine = evaluator(items, out, shard=which, **options)
    record, done = engine._record, []

    def recorded(result: Any) -> None:
        if len(done) >= after:
            raise KeyboardInterrupt
        done.append(result.case)
        record(result)

    engine._record = recorded  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        engine.run()


def is_killed(
    items: list[dict[str, Any]], out: Path, which: str, *, at: str, **options: Any
) -> None:
    """A shard in a process of its own that ends, without a word, when it has computed a case."""
    pid = os.fork()
    if pid == 0:  # never back into pytest
        try:
            engine = evaluator(items, out, shard=which, **options)
            record = engine._record

            def recorded(result: Any) -> None:
                if result.case == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                record(result)

            engine._record = recorded  # type: ignore[method-assign]
            engine.run()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"shard {which} was to be killed at {at}"


def rows(out: Path) -> dict[str, dict[str, str]]:
    found = read_case_table(out / "cases.csv")
    return {row["case"]: row for row in found}


def stands(out: Path) -> Standing:
    with SharedFolder(out) as folder, folder.gate():
        found = standing(folder)
    assert found is not None
    return found
