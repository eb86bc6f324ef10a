"""How far a long piece of work is: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from tqdm import tqdm

from .events import emit

EVERY = 30.0
"""Seconds between two lines where stderr is no terminal, and between two events."""

_LOG = logging.getLogger("gridgate.progress")
_BAR = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]"
_bars = True
_Item = TypeVar("_Item")
_Own = TypeVar("_Own", bound="Progress")


class Progress:
    """Work done out of a total: a bar where stderr is a terminal, else a log line each half minute.

    A line is an INFO record of the logger "gridgate.progress". Each half minute there is an event
    "progress" too. A context manager; what is done within the first half minute leaves no line.

    Args:
        total: how much there is to do.
        doing: what is done, in a word or a few.
        unit: of the total.
        initial: what was done before.
        fractions: `move` gives parts of a unit.
        delay: seconds before the bar appears.
        leave: the bar stays when the work is done.
        shown: False shows nothing at all.
    """

    def __init__(
        self,
        total: int,
        doing: str,
        *,
        unit: str = "",
        initial: int = 0,
        fractions: bool = False,
        delay: float = 0.0,
        leave: bool = True,
        shown: bool = True,
    ) -> None:
        self.total, self.doing, self.unit = total, doing, unit
        self.done: float = initial
        self.note = ""
        self.shown = shown
        self._began = self._told = _now()
        self._first: tuple[float, float] | None = None  # when work was first done, and how much
        self._bar: tqdm[Any] | None = None
        if shown and _bars and sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                desc=doing,
                unit=unit or "it",
                initial=initial,
                delay=delay,
                leave=leave,
                bar_format=_BAR if fractions else None,
                smoothing=0.1,
            )

    def __enter__(self: _Own) -> _Own:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def advance(self, by: float = 1, *, note: str | None = None) -> None:
        """So much more is done; `note` is what to say beside it from now on."""
        self.move(self.done + by, note=note)

    def move(self, to: float, *, note: str | None = None) -> None:
        """So much is done in all."""
        self.done = to
        if self._first is None:
            self._first = _now(), to  # the start of what does the work does not count
        self.note = self.note if note is None else note
        if self._bar is not None:
            self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.update(to - self._bar.n)
        if self.shown and _now() - self._told >= EVERY:
            self._told = _now()
            self._tell()

    def print(self, text: str) -> None:
        """A line on stdout that the bar makes room for."""
        tqdm.write(text) if self._bar is not None else print(text, flush=True)

    def close(self) -> None:
        """The work has ended, well or not."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()

    def _tell(self) -> None:
        emit("progress", doing=self.doing, done=self.done, total=self.total, note=self.note)
        if self._bar is not None:
            return
        since, before = self._first or (self._began, self.done)
        left = ""
        if self.done > before:
            seconds = (_now() - since) / (self.done - before) * (self.total - self.done)
            left = f", {_clock(seconds)} left"
        spent = _now() - self._began
        unit, note = self.unit and f" {self.unit}", self.note and f"; {self.note}"
        done = f"{self.done:.1f}".removesuffix(".0")
        _LOG.info(f"{self.doing}: {done} of {self.total}{unit} in {_clock(spent)}{left}{note}")


def progressed(items: Iterable[_Item], total: int, doing: str, **options: Any) -> Iterator[_Item]:
    """The items, one after another, with a Progress over them; `options` are Progress's.

    >>> list(progressed("ab", 2, "reading", shown=False))
    ['a', 'b']
    """
    with Progress(total, doing, **options) as progress:
        for item in items:
            yield item
            progress.advance()


@contextmanager
def without_bars() -> Iterator[None]:
    """No bar is drawn while the block runs, on no terminal."""
    global _bars
    before, _bars = _bars, False
    try:
        yield
    finally:
        _bars = before


def _now() -> float:
    return time.monotonic()


def _clock(seconds: float) -> str:
    """Seconds as 1:02 or 1:02:03.

    >>> _clock(62), _clock(3723)
    ('1:02', '1:02:03')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
