"""`gridgate merge`: at any time, and what it says."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.output_folder import OutputFolder
from gridgate.data.shared_folder import SharedFolder
from gridgate.pipeline.batch.shards.locks import lock_of, tried
from gridgate.pipeline.batch.shards.record import Round
from gridgate.pipeline.batch.shards.tables import merged_rows
from gridgate.pipeline.cli.main import main

from .in_turn import NAMES, dies, shard


def merged(out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    code = main(["merge", str(out), "--report", "no", *more])
    said = capsys.readouterr()
    return code, said.out + said.err


def cases(out: Path) -> list[str]:
    with open(out / "cases.csv", newline="") as file:
        return sorted(row["case"] for row in csv.DictReader(file))


def test_merging_while_shards_run(
    items: list[dict[str, Any]],
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dies(items, out, "1/2", after=2)
    lock = tried(lock_of(SharedFolder(out).records, 1, 2))  # as if it still ran
    assert lock is not None
    for _ in range(2):
        code, said = merged(out, capsys)
        assert code == 0 and "10 cases: 2 done, 8 not yet" in said, said
        assert "1 running (1), 1 not started (2)" in said
        assert len(cases(out)) == 2
    shard(items, out, "2/2")
    code, said = merged(out, capsys)
    assert code == 0 and "10 cases: 7 done, 3 not yet; shards: 1 through, 1 running (1)" in said
    assert len(cases(out)) == 7
    lock.release()
    code, said = merged(out, capsys)
    assert code == 1 and "3 not yet" in said and "1 died (1)" in said, "nobody will do them"
    assert shard(items, out, "2/2").state.iteration == 3
    code, said = merged(out, capsys)
    assert code == 0 and "10 cases: 10 done; shards: 2 through" in said
    assert cases(out) == NAMES


def test_failed_cases_are_told_and_the_code_says_so(
    items: list[dict[str, Any]],
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gridgate.pipeline.batch.evaluator import CasesFailedError

    Path(items[4]["image"]).write_bytes(b"no image")
    for number in (1, 2):
        with suppress(CasesFailedError):
            shard(items, out, f"{number}/2")
    code, said = merged(out, capsys)
    assert code == 1 and "10 cases: 9 done, 1 failed; shards: 2 through" in said


def test_merging_refuses_where_there_is_nothing_to_merge(
    items: list[dict[str, Any]],
    out: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    code, said = merged(tmp_path / "nowhere", capsys)
    assert code == 1 and "no shards have written there" in said
    assert not (tmp_path / "nowhere").exists()
    shard(items, out, "1/2")
    shard(items, out, None)
    code, said = merged(out, capsys)
    assert code == 1 and "no run that is shared" in said and "cases.csv is whole" in said
    assert cases(out) == NAMES
    with OutputFolder(out):
        code, said = merged(out, capsys)
    assert code == 1 and "another run is writing there" in said


def test_a_merge_that_is_cut_off_does_no_harm(
    items: list[dict[str, Any]],
    out: Path,
) -> None:
    """cases.csv is there, and the tables that are in it, too."""
    shard(items, out, "1/2")
    dies(items, out, "2/2", after=3)
    before = {path: path.read_bytes() for path in (out / ".gridgate/shards").glob("*.csv")}
    with SharedFolder(out) as folder, folder.gate():
        from gridgate.pipeline.batch.shards.tables import merge

        merge(folder)
    assert before
    for path, content in before.items():
        path.write_bytes(content)
    rows = merged_rows(OutputFolder(out))
    assert len(rows) == len({row["case"] for row in rows}) == 8
    shard(items, out, "2/2")
    assert cases(out) == NAMES


def test_records_that_cannot_be_read_are_told(
    items: list[dict[str, Any]],
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shard(items, out, "1/2")
    (SharedFolder(out).records / "round.json").write_text("{")
    code, said = merged(out, capsys)
    assert code == 1 and "round.json: cannot be read" in said and "without --shard" in said
    shard(items, out, None)
    assert Round.read(SharedFolder(out).records) is None and cases(out) == NAMES
