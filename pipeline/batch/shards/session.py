"""A shard's time in its output folder: its own cases, those of shards that died, and the end."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from ....data.errors import ConfigError, GridgateError
from ..case import Case
from .locks import any_running, is_locked, lock_of, tried
from .record import Round, ShardState
from .shard import Shard
from .tables import ShardTable, fold, merge

logger = logging.getLogger("gridgate.shards")

Sources = Callable[[Sequence[Case]], dict[str, tuple[str, str]]]
"""Cases -> id -> input as text, and its stamp."""
Fails = Callable[[Case, str], object]
"""Told of a case that is not tried any more, and why."""
_GIVEN_UP = (
    "{} processes ended while they had this case in hand, and nothing else of it is known; it may "
    "need more memory than a job is given. Start its shard again to try once more"
)
_DEATHS = 3  # processes that end with a case in hand before no other shard tries it


class ShardSession:
    """What a shard does at the gate: it gets cases, a few times, and ends.

    A shard that runs holds its lock, which the system takes away with its process. One that has
    begun, has not ended and holds no lock has died; whoever is through with its own cases takes its
    lock and does what it has left. A shard that has not begun is left alone: its turn may come.

    Args:
        table: of this shard.
        shard: which one.
        sources, fails: see above.
    """

    def __init__(self, table: ShardTable, shard: Shard, *, sources: Sources, fails: Fails) -> None:
        self.table = table
        self.shard = shard
        self.sources = sources
        self.fails = fails
        self.count = 0  # of the cases that were this shard's to do
        self.records = table.shared.records
        self.cases: dict[str, Case] = {}
        self._held: dict[int, FileLock] = {}
        self._round = Round(shard.count)
        self._hand = threading.Lock()
        self._doing = shard.number

    def __enter__(self) -> ShardSession:
        """Nothing is taken yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what is held, also where the run was stopped."""
        if self._doing in self._held:  # whoever stops here tells why: no case is at fault
            if kind is not None and not issubclass(kind, Exception):
                # but for one that hangs until the job's time is up: these come last the next time
                self._put_last()
            with suppress(OSError):
                self._hand_path(self._doing).unlink()
        for number in list(self._held):
            self._let_go(number)

    def begin(
        self, cases: Sequence[Case], start: Callable[[Sequence[Case]], list[Case]]
    ) -> list[list[Case]] | None:
        """This shard's cases that are not done, in the lists in which they are to be done.

        None where another shard is finishing them, so that nothing is to be done here.

        Args:
            cases: of the whole run.
            start: told of those of this shard, gives those that are not done.

        Raises:
            ConfigError: the same shard runs already, or shards of another run do.
            OutputError: the folder cannot be written.
        """
        self.cases = {case.id: case for case in cases}
        number = self.shard.number
        with self.table.shared.gate():
            self._settle_round()
            before = self._state(number)
            if not self._take(number):
                if before.by in (0, number):
                    raise ConfigError(
                        f"{self.table.folder}: shard {self.shard} is running already "
                        f"({before.where}); wait for it, or give another folder"
                    )
                logger.info(
                    f"shard {self.shard}: shard {before.by} ({before.where}) is finishing its "
                    "cases; nothing is left to do here"
                )
                return None
            own = self._of(number)
            self.count += len(own)
            goes_on = before.unfinished and before.by in (0, number)
            self.table.since = before.began if goes_on else float("inf")
            todo = start(own)
            return self._begun(number, before, todo, began=before.began if goes_on else 0)

    def more(self, when_all: Callable[[], object]) -> list[list[Case]]:
        """The cases that a shard which died has left; none: this shard has ended.

        Args:
            when_all: called when no shard runs any more, with all rows in cases.csv.
        """
        own = self.shard.number
        with self.table.shared.gate():
            for number in [one for one in self._held if one != own]:
                self._ends(number)
            for number in range(1, self.shard.count + 1):
                todo = self._left_by(number)
                if todo:
                    return todo
            if own in self._held:
                self._ends(own)
                if not self.running():
                    merge(self.table.shared)
                    when_all()
        return []

    def running(self) -> list[int]:
        """Numbers of the shards that run; at the gate."""
        numbers = range(1, self.shard.count + 1)
        return [number for number in numbers if is_locked(self._lock_path(number))]

    def hears(self, kind: str, name: str) -> None:
        """Write down that a case is in hand, so that it is known where a process has died."""
        if kind == "read":
            path = self._hand_path(self._doing)
            with self._hand, suppress(OSError), open(path, "a", encoding="ascii") as file:
                file.write(json.dumps(name) + "\n")

    def _settle_round(self) -> None:
        """The round that this shard belongs to, with its cases in it."""
        mine = Round(self.shard.count, self.table.checkpoint, self.table.settings)
        before = Round.read(self.records)
        running = any_running(self.records)
        if before is not None and not before.is_of(mine) and running:
            raise ConfigError(
                f"{self.table.folder}: shards of another run are at work there, "
                f"{_difference(before, mine)}; wait for them, or give another folder"
            )
        if not running:
            self.table.shared.tidy_up()
        if before is None or not before.is_of(mine):
            fold(self.table.shared)
            Round.remove(self.records)
            before = mine
        over = not running and self._all_through(before)
        self._round = before.with_cases(self.cases, only=over)
        self._round.write(self.records)

    def _begun(
        self, number: int, before: ShardState, todo: list[Case], began: float
    ) -> list[list[Case]]:
        """Note that this process does a shard's cases; those that a process died with come last.

        Each of these alone, so that the one at fault is known. In the end it is tried no more, but
        where its own shard is started again.
        """
        suspects = dict(before.suspects)
        for name in self._in_hand(number, before) if before.unfinished else ():
            suspects[name] = suspects.get(name, 0) + 1
        left = {case.id for case in todo}
        suspects = {name: count for name, count in suspects.items() if name in left}
        self._doing = number
        with suppress(FileNotFoundError):
            self._hand_path(number).unlink()
        by = 0 if number == self.shard.number else self.shard.number
        state = ShardState.begins(by=by, suspects=suspects)
        replace(state, began=began or state.began).write(self._path(number))
        alone = []
        for case in todo:
            if by and suspects.get(case.id, 0) >= _DEATHS:
                self.fails(case, _GIVEN_UP.format(suspects[case.id]))
            elif case.id in suspects:
                alone.append([case])
        calm = [case for case in todo if case.id not in suspects]
        return [calm, *alone] if calm else alone

    def _all_through(self, round_: Round) -> bool:
        """Whether no shard of a round has begun, or all have ended: its list may be made anew."""
        states = [self._state(number) for number in range(1, round_.count + 1)]
        return all(state.ended for state in states) or not any(state.began for state in states)

    def _put_last(self) -> None:
        """Note the cases in hand, so that they are done last and alone; none is at fault."""
        with suppress(OSError, GridgateError):
            state = self._state(self._doing)
            names = self._in_hand(self._doing, state)
            suspects = {**dict.fromkeys(names, 0), **state.suspects}
            replace(state, suspects=suspects).write(self._path(self._doing))

    def _left_by(self, number: int) -> list[list[Case]]:
        state = self._state(number)
        if number in self._held or not state.unfinished or not self._take(number):
            return []
        cases = self._of(number)
        done = self.table.take_over(self.sources(cases), since=state.began)
        todo = [case for case in cases if case.id not in done]
        self.count += len(todo)
        if todo:
            logger.info(
                f"shard {number}/{self.shard.count} ({state.where}) has died; the {len(todo)} "
                "cases that it has left are done here"
            )
            if lists := self._begun(number, state, todo, began=state.began):
                return lists
        self._ends(number)
        return []

    def _in_hand(self, number: int, state: ShardState) -> list[str]:
        """The cases that a process had in hand when it died: begun, and without a row since."""
        begun: list[str] = []
        with suppress(OSError):
            for line in self._hand_path(number).read_text(encoding="ascii").splitlines():
                with suppress(ValueError):
                    begun.append(str(json.loads(line)))
        if not begun:
            return []
        rows = {row["case"]: float(row.get("at") or 0) for row in self.table.read_before()}
        return [name for name in dict.fromkeys(begun) if rows.get(name, 0) < state.began]

    def _of(self, number: int) -> list[Case]:
        shard_of = self._round.shard_of()
        return [case for case in self.cases.values() if shard_of[case.id] == number]

    def _take(self, number: int) -> bool:
        lock = tried(self._lock_path(number))
        if lock is not None:
            self._held[number] = lock
        return lock is not None

    def _ends(self, number: int) -> None:
        self._state(number).ends().write(self._path(number))
        self._let_go(number)

    def _let_go(self, number: int) -> None:
        with suppress(OSError):
            self._held.pop(number).release()

    def _state(self, number: int) -> ShardState:
        return ShardState.read(self._path(number))

    def _lock_path(self, number: int) -> Path:
        return lock_of(self.records, number, self.shard.count)

    def _path(self, number: int) -> Path:
        return self.records / f"{Shard(number, self.shard.count).name}.json"

    def _hand_path(self, number: int) -> Path:
        return self._path(number).with_suffix(".hand")


def _difference(before: Round, mine: Round) -> str:
    if before.count != mine.count:
        return f"{before.count} of them, not {mine.count}"
    return "of other weights" if before.checkpoint != mine.checkpoint else "of other settings"
