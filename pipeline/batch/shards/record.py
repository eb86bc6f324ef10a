"""What shards of one run tell each other: which case is whose, and how far each shard is."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ....data.errors import OutputError
from ....data.files import write_atomically

_ROUND = "round.json"


@dataclass(frozen=True)
class Round:
    """The cases of a run that is shared out, each to a shard, for as long as the run lasts.

    A case's place in the list is its shard's: numbers go round. New cases come to the list's end,
    by a hash of their ids, so a case never changes its shard while others are at work, all shards
    have as many cases but for one, and neighbours in a folder, which are alike, lie in different
    shards.

    Args:
        count: of shards.
        checkpoint, settings: fingerprints, as in the table of cases.
        cases: ids.
        gone: those of them that are not among the inputs any more; they keep their places, so that
            no other case changes its shard.
    """

    count: int
    checkpoint: str = ""
    settings: str = ""
    cases: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def shard_of(self) -> dict[str, int]:
        """Case -> its shard's number."""
        return {case: 1 + place % self.count for place, case in enumerate(self.cases)}

    def is_of(self, other: Round) -> bool:
        """Whether both are of one run."""
        return replace(self, cases=(), gone=()) == replace(other, cases=(), gone=())

    @property
    def wanted(self) -> list[str]:
        """The cases that are among the inputs."""
        gone = set(self.gone)
        return [case for case in self.cases if case not in gone]

    def with_cases(self, ids: Iterable[str], *, only: bool = False) -> Round:
        """With those that are not in it yet.

        Args:
            only: leave out those that are not among the ids.

        Example:
            >>> first = Round(2).with_cases(["a", "b", "c"])
            >>> first.with_cases(["d", "a"]).cases[:3] == first.cases
            True
        """
        given = set(ids)
        kept = [case for case in self.cases if case in given or not only]
        cases = (*kept, *sorted(given.difference(kept), key=_hash))
        gone = tuple(case for case in kept if case not in given)
        return replace(self, cases=cases, gone=gone)

    @classmethod
    def read(cls, folder: Path) -> Round | None:
        """That of a folder of records; None where there is none.

        Raises:
            OutputError: it cannot be read.
        """
        path = folder / _ROUND
        try:
            found = json.loads(path.read_bytes())
            lists = {name: tuple(found.get(name, ())) for name in ("cases", "gone")}
            return cls(**{**found, **lists})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path}: cannot be read ({error}); run once without --shard, which needs it not"
            ) from error

    def write(self, folder: Path) -> None:
        """Put it there.

        Raises:
            OutputError: the system refuses.
        """
        _write(folder / _ROUND, asdict(self))

    @staticmethod
    def remove(folder: Path) -> None:
        """End it: no shard knows of the others any more."""
        for path in [folder / _ROUND, *folder.glob("*-of-*.json")]:
            with suppress(FileNotFoundError):
                path.unlink()


@dataclass(frozen=True)
class ShardState:
    """How far a shard is, as it has written down; whether it runs is told by its lock.

    Args:
        began: when, in seconds since 1970; 0: never.
        ended: all its cases were through; 0: not yet.
        by: number of the shard that does its cases; 0: itself.
        where: machine and process.
        suspects: case -> how often a process has ended with it in hand.
    """

    began: float = 0.0
    ended: float = 0.0
    by: int = 0
    where: str = ""
    suspects: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begins(cls, *, by: int = 0, suspects: dict[str, int] | None = None) -> ShardState:
        """That of this process, now."""
        return cls(time.time(), 0.0, by, this_process(), suspects or {})

    def ends(self) -> ShardState:
        """The same, with all cases through."""
        return replace(self, ended=time.time())

    @property
    def unfinished(self) -> bool:
        """Begun and not ended: it runs, or it has died."""
        return self.began > 0 and not self.ended

    @classmethod
    def read(cls, path: Path) -> ShardState:
        """What stands there; one that never began where nothing does."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(path.read_bytes()))
        return cls()

    def write(self, path: Path) -> None:
        """Put it there.

        Raises:
            OutputError: the system refuses.
        """
        _write(path, asdict(self))


def this_process() -> str:
    """Machine, process and, in a SLURM job, its number."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"{socket.gethostname()}, process {os.getpid()}" + (f", job {job}" if job else "")


def _hash(case: str) -> str:
    return hashlib.sha256(case.encode(errors="surrogateescape")).hexdigest()


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content).encode()
    write_atomically(path, lambda stream: stream.write(text))
