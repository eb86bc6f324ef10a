"""What happens in a run, told to whoever listens: a log of JSON lines, a command's last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]
"""Called with an event's name and its facts: plain values that JSON can hold."""

_listeners: list[Listener] = []


def emit(event: str, **facts: Any) -> None:
    """Tell of an event; nothing happens where nobody listens.

    Args:
        event: "case" (one has ended), "cases" (all have), "epoch" (a validation has ended),
            "early_stop", "trained", "imported", "progress".
        facts: the same names for each event of a kind.
    """
    for listener in tuple(_listeners):
        listener(event, facts)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a function called with each event, while the block runs.

    Example:
        >>> heard = []
        >>> with listening(lambda event, facts: heard.append((event, facts))):
        ...     emit("case", case="a", status="ok")
        >>> heard
        [('case', {'case': 'a', 'status': 'ok'})]
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
