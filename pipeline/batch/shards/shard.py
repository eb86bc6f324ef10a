"""Which part of a run a process does: as the user says, or as the place in SLURM's job array."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ....data.errors import ConfigError

_NONE = ("none", "null")
_AUTO = "auto"
_PREFIX = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """One of the parts that a run's cases are shared between.

    Args:
        number: counted from 1.
        count: how many there are, two at the least.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.number}-of-{self.count}"

    @classmethod
    def of(cls, text: str) -> Shard | None:
        """The part that "2/4" says; None of "1/1", which is all.

        Example:
            >>> Shard.of("2/4")
            Shard(number=2, count=4)

        Raises:
            ConfigError: it is not of this form, or there is no such part.
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if found is None:
            raise ConfigError(
                f"--shard {text}: write it as 2/4, the second of four; auto takes it from SLURM's "
                "job array, null runs all cases"
            )
        number, count = int(found[1]), int(found[2])
        if not 1 <= number <= count:
            raise ConfigError(f"--shard {text}: shards are counted from 1, up to {max(1, count)}")
        return cls(number, count) if count > 1 else None


def chosen_shard(
    given: str | Shard | None,
    environment: Mapping[str, str] = os.environ,
    *,
    cases: int | None = None,
) -> Shard | None:
    """The part that a run is to do; None: all of it.

    Args:
        given: as `--shard` has it: "i/n", None or "none", or "auto": by SLURM's job array, where
            the process is in one.
        cases: of the run; one alone is not shared out because of an array, which is over scans
            then.

    Raises:
        ConfigError: see Shard.of and shard_of_slurm.
    """
    if given is None or isinstance(given, Shard):
        return given
    if given.strip().lower() == _AUTO:
        return None if cases == 1 else shard_of_slurm(environment)
    return None if given.strip().lower() in _NONE else Shard.of(given)


def from_slurm(given: str | Shard | None) -> bool:
    """Whether a shard is SLURM's word, not the user's."""
    return isinstance(given, str) and given.strip().lower() == _AUTO


def shard_of_slurm(environment: Mapping[str, str]) -> Shard | None:
    """The place of this task among those of SLURM's job array; None outside of one.

    The tasks' numbers may begin anywhere and have a step, as of `--array=10-40:10`.

    Example:
        >>> array = {"ID": "20", "COUNT": "4", "MIN": "10", "MAX": "40", "STEP": "10"}
        >>> shard_of_slurm({f"SLURM_ARRAY_TASK_{name}": text for name, text in array.items()})
        Shard(number=2, count=4)

    Raises:
        ConfigError: the numbers are a list without one step, which does not tell the place.
    """
    if f"{_PREFIX}ID" not in environment or f"{_PREFIX}COUNT" not in environment:
        return None
    task, count = (_number(environment, name) for name in ("ID", "COUNT"))
    if count <= 1:
        return None
    first, last = (_number(environment, name) for name in ("MIN", "MAX"))
    step, rest = divmod(last - first, count - 1)
    place, between = divmod(task - first, step) if step > 0 else (-1, 0)
    if rest or between or not 0 <= place < count:
        raise ConfigError(
            f"{_PREFIX}ID={task}: the array's {count} tasks from {first} to {last} have no one "
            "step, so a task's place among them is not known; give --shard i/n, or --shard null "
            "for all cases"
        )
    return Shard(place + 1, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(f"{_PREFIX}{name}", "")
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"{_PREFIX}{name}={text!r}: is no number; give --shard i/n, or --shard null"
        ) from None
