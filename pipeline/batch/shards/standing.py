"""How far a run that is shared out is: cases done, failed and missing, and what each shard does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....data.shared_folder import SharedFolder
from ..results.case_result import DONE, FAILED
from .locks import is_locked, lock_of
from .record import Round, ShardState
from .shard import Shard
from .tables import merged_rows

ENDED, RUNNING, DIED, WAITING = "through", "running", "died", "not started"


@dataclass(frozen=True)
class ShardStanding:
    """One shard.

    Args:
        number: counted from 1.
        state: ENDED, RUNNING, DIED or WAITING.
        where: machine and process that does its cases, or did.
        missing: of its cases, those that have no row yet.
    """

    number: int
    state: str
    where: str
    missing: int


@dataclass(frozen=True)
class Standing:
    """All of them.

    Args:
        cases: of the run.
        done, failed: ids of those that have a mask, and of those that could not be done.
        missing: ids of those that have no row yet.
        shards: in their order.
    """

    cases: int
    done: Sequence[str]
    failed: Sequence[str]
    missing: Sequence[str]
    shards: Sequence[ShardStanding]

    @property
    def running(self) -> bool:
        """Whether any shard is at work."""
        return any(shard.state == RUNNING for shard in self.shards)

    @property
    def lonely(self) -> bool:
        """Whether cases are missing, and all but one of the shards have not started."""
        waiting = sum(shard.state == WAITING for shard in self.shards)
        return bool(self.missing) and waiting == len(self.shards) - 1

    def __str__(self) -> str:
        told = [f"{self.cases} cases: {len(self.done)} done"]
        if self.failed:
            told.append(f"{len(self.failed)} failed")
        if self.missing:
            told.append(f"{len(self.missing)} not yet")
        return ", ".join(told) + f"; shards: {self.of_shards}"

    @property
    def of_shards(self) -> str:
        """How many shards are through, run, have died and have not started."""
        told = []
        for state in (ENDED, RUNNING, DIED, WAITING):
            numbers = [shard.number for shard in self.shards if shard.state == state]
            if numbers:
                which = "" if state == ENDED else f" ({_ranges(numbers)})"
                told.append(f"{len(numbers)} {state}{which}")
        return ", ".join(told)


def standing(folder: SharedFolder) -> Standing | None:
    """How far the run in a folder is, at its gate; None where no shards have run.

    Raises:
        OutputError: what they have written down cannot be read.
    """
    found = Round.read(folder.records)
    if found is None:
        return None
    rows = {
        row["case"]: row["status"]
        for row in merged_rows(folder)
        if (row.get("checkpoint"), row.get("settings")) == (found.checkpoint, found.settings)
    }
    cases = found.wanted
    done = [case for case in cases if rows.get(case) == DONE]
    failed = [case for case in cases if rows.get(case) == FAILED]
    missing = [case for case in cases if rows.get(case) not in (DONE, FAILED)]
    shard_of, left = found.shard_of(), [0] * found.count
    for case in missing:
        left[shard_of[case] - 1] += 1
    shards = [_one(folder, found, number, left[number - 1]) for number in _numbers(found)]
    return Standing(len(cases), done, failed, missing, shards)


def _numbers(found: Round) -> range:
    return range(1, found.count + 1)


def _one(folder: SharedFolder, found: Round, number: int, missing: int) -> ShardStanding:
    path = folder.records / f"{Shard(number, found.count).name}.json"
    state = ShardState.read(path)
    if is_locked(lock_of(folder.records, number, found.count)):
        name = RUNNING
    elif not missing and (state.ended or not state.began):
        name = ENDED  # also one whose cases all were done before
    elif not state.began or state.ended:
        name = WAITING
    else:
        name = DIED
    return ShardStanding(number, name, state.where, missing)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in few words.

    >>> _ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    told: list[list[int]] = []
    for number in numbers:
        if told and number == told[-1][1] + 1:
            told[-1][1] = number
        else:
            told.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in told)
