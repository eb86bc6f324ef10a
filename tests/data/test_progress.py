"""How far work is: lines in a log by a clock that the test moves, a bar on a terminal."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from gridgate.data import progress as module
from gridgate.data.events import listening
from gridgate.data.progress import Progress, progressed, without_bars


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "_now", made)
    caplog.set_level(logging.INFO, logger="gridgate.progress")
    return made


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gridgate.progress"]


def test_a_log_gets_a_line_each_half_minute_however_often_it_moves(
    clock: Clock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(10, "cases", fractions=True) as progress:
        for step in range(1, 10 * 20 + 1):  # ten cases of twenty windows, three seconds each
            clock.now += 3
            progress.move(step / 20, note=f"window {step}")
    assert len(lines(caplog)) == 600 // 30
    assert lines(caplog)[0] == "cases: 0.5 of 10 in 0:30, 9:30 left; window 10"
    assert lines(caplog)[-1] == "cases: 10 of 10 in 10:00, 0:00 left; window 200"
    assert capsys.readouterr() == ("", "")


def test_short_work_leaves_no_line_and_what_was_done_before_is_not_counted_as_fast(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress(10, "reading") as progress:
        clock.now += 29
        progress.advance(9)
    assert lines(caplog) == []
    with Progress(100, "training", unit="iterations", initial=90) as progress:
        clock.now += 20  # until workers have started, and the first is done
        progress.advance()
        clock.now += 40
        progress.advance(2)  # twenty seconds each: seven are left
    assert lines(caplog) == ["training: 93 of 100 iterations in 1:00, 2:20 left"]


def test_items_come_as_they_are_and_errors_go_through(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def slow() -> Iterator[str]:
        for name in "abc":
            clock.now += 40
            yield name

    assert list(progressed(slow(), 3, "measuring")) == ["a", "b", "c"]
    assert [line.split(" in ")[0] for line in lines(caplog)] == [
        f"measuring: {done} of 3" for done in (1, 2, 3)
    ]

    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(progressed(broken(), 3, "measuring"))


def test_a_terminal_gets_a_bar_and_no_lines(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(4, "cases", fractions=True) as progress:
        clock.now += 100
        progress.move(2.5, note="scan_1 window 3/6")
    assert re.search(r"cases:  62%.*2\.5/4 \[.*scan_1 window 3/6", screen.getvalue())
    assert lines(caplog) == []
    drawn = screen.getvalue()
    with without_bars():
        Progress(4, "cases").close()
    Progress(4, "cases", shown=False).close()
    assert screen.getvalue() == drawn


def test_each_half_minute_is_an_event(clock: Clock) -> None:
    heard = []
    with listening(lambda event, facts: heard.append((event, facts))), Progress(3, "cases") as bar:
        bar.advance()
        clock.now += 31
        bar.advance(note="1 failed")
    bar.advance()
    assert heard == [
        ("progress", {"doing": "cases", "done": 2, "total": 3, "note": "1 failed"}),
    ]
