"""What a command says: log lines and errors on stderr, or each event as a line of JSON on stdout.

With `--json-log` a line is an object with "time" (ISO 8601, UTC) and "event"; the other keys are
the same for each event of a kind: "start", "progress", "case", "cases", "epoch", "early_stop",
"trained", "evaluated", "imported", "info", "warning", "error", "end".
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

from tqdm import tqdm

from ...data.events import listening
from ...data.progress import without_bars
from ..process_settings import calm_warnings

Style = Literal["plain", "quiet", "json"]
OURS = "gridgate"
_TOLD_AS_EVENTS = ("gridgate.progress", "gridgate.failed", "gridgate.validation")
_style: Style = "plain"
_writer: JsonLines | None = None


class JsonLines:
    """Writes events as lines of JSON, from any thread.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Write one; numbers that JSON cannot hold are null."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps(_plain({"time": now, "event": event, **facts}), allow_nan=False)
        with self._lock:
            self.stream.write(line + "\n")
            self.stream.flush()


class _Said(logging.Handler):
    """Log records as a user reads them; those of other libraries from warnings on."""

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] == OURS
        if not ours and record.levelno < logging.WARNING:
            return
        if _writer is not None:
            self._as_event(record, _writer)
            return
        error = record.levelno >= logging.ERROR
        kind = "error: " if error else "warning: " if record.levelno >= logging.WARNING else ""
        when = "" if sys.stderr.isatty() else f"{datetime.now():%H:%M:%S} "
        text = f"{when}{kind}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        tqdm.write(text, file=sys.stderr)  # a bar makes room for it

    def _as_event(self, record: logging.LogRecord, writer: JsonLines) -> None:
        if record.name in _TOLD_AS_EVENTS:
            return
        name = "info" if record.levelno < logging.WARNING else record.levelname.lower()
        facts: dict[str, Any] = {"message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            facts["traceback"] = logging.Formatter().formatException(record.exc_info)
        writer("error" if name == "critical" else name, facts)


def add_console_options(command: argparse.ArgumentParser) -> None:
    """The options --quiet and --json-log of a command that runs long."""
    group = command.add_argument_group("what it says").add_mutually_exclusive_group()
    group.add_argument("--quiet", action="store_true", help="errors and the last line only")
    group.add_argument(
        "--json-log", action="store_true", help="each event as a line of JSON on stdout"
    )


@contextmanager
def console(options: argparse.Namespace, words: Sequence[str]) -> Iterator[None]:
    """Say what happens in the style that a command was given, while the block runs.

    Deprecation warnings of libraries are dropped, unless Python was told what to do with warnings
    (`python -W`, PYTHONWARNINGS).

    Args:
        options: of the command.
        words: of its command line.
    """
    global _style, _writer
    style: Style = "plain"
    if getattr(options, "quiet", False):
        style = "quiet"
    elif getattr(options, "json_log", False):
        style = "json"
    before = _style, _writer
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        calm_warnings()
        stack.enter_context(_logging(logging.ERROR if style == "quiet" else logging.INFO))
        _style, _writer = style, None
        if style != "plain":
            stack.enter_context(without_bars())
        if style == "json":
            _writer = JsonLines(sys.stdout)
            stack.enter_context(listening(_writer))
            # what else is printed, by libraries, must not lie among the events
            stack.enter_context(redirect_stdout(sys.stderr))
            _writer("start", {"command": options.command, "arguments": list(words)})
        try:
            yield
        finally:
            _style, _writer = before


def say_last(text: str) -> None:
    """A command's last line, on stdout; with --json-log the events have told it."""
    if _writer is None:
        print(text, flush=True)


def say_error(text: str, *, kind: str = "error") -> None:
    """Why a command ends; `kind` "" is no error of anybody, such as Ctrl-C."""
    if _writer is not None:
        _writer("error", {"message": text, "logger": OURS})
    else:
        print(f"{kind}: {text}" if kind else text, file=sys.stderr)


def say_end(code: int) -> None:
    """The event "end", with the exit code."""
    if _writer is not None:
        _writer("end", {"code": code})


def silence_handlers_of(library: str) -> None:
    """Let what a library logs come to us alone: MONAI's loggers print by themselves as well."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.split(".")[0] == library:
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
            logger.propagate = True


@contextmanager
def _logging(level: int) -> Iterator[None]:
    root, handler = logging.getLogger(), _Said(level)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inside) for inside in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):  # a file's name may hold bytes that are not UTF-8
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value if value is None or isinstance(value, bool | int) else str(value)
