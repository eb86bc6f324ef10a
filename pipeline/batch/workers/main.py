"""A process that computes cases: `python -m gridgate.pipeline.batch.workers.main N [ahead]`.

Its parent gives it a CaseProcessor once and then cases, and hears of every step. It lives no longer
than its parent: at the end of the connection it ends, whatever it is doing. A process, and not a
thread, because a library that crashes on a damaged file, a driver that hangs, or the kernel's
killing for lack of memory must take one case with it and no more.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from ...process_settings import calm_warnings

if TYPE_CHECKING:
    from ..pipelined import CasePipeline


class _Forwarding(logging.Handler):
    """Hands log records to the parent, which says them as its own.

    Those from warnings on, and whatever of ours says more.
    """

    def __init__(self, report: Callable[[str, str, Any], None]) -> None:
        super().__init__(logging.INFO)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith("gridgate."):
            return
        with suppress(OSError):  # the parent is gone
            self.report("log", record.name, (record.levelno, self.format(record)))


def forward_logs(report: Callable[[str, str, Any], None]) -> None:
    """Let whoever has started this process say what is logged in it.

    Args:
        report: told ("log", logger, (level, text)).
    """
    logging.getLogger().addHandler(_Forwarding(report))
    logging.getLogger("gridgate.engine").setLevel(logging.INFO)


def _import_ahead() -> None:
    """What every case needs, while the parent still reads the config."""
    from ....transforms import postprocess, preprocess  # noqa: F401
    from .. import processor  # noqa: F401


def _settle(place: Mapping[str, Any]) -> None:
    """Take the parent's module path, as a bundle may bring its own, and a folder for scratch."""
    sys.path[:] = place["path"]
    if place["scratch"] is not None:
        os.environ["TMPDIR"] = place["scratch"]
        tempfile.tempdir = None  # it is looked up again


def _made_ready(connection: Connection, report: Callable[[str, str, Any], None]) -> CasePipeline:
    """What computes, of what the parent sends: place, settings, device.

    Raises:
        EOFError: the parent is gone.
    """
    from ..pipelined import CasePipeline

    _settle(connection.recv())
    settings = pickle.loads(connection.recv_bytes())  # from our own parent
    device = connection.recv()
    if settings["threads"]:
        import torch

        torch.set_num_threads(settings["threads"])
    processor = replace(settings["processor"], device=device)
    processor.prepare()
    return CasePipeline(processor, readers=settings["readers"], report=report)


def main(descriptor: int, *, ahead: bool = False) -> None:
    """Work until the parent says so or is gone.

    Args:
        ahead: import what every case needs before the parent says anything.
    """
    # Ctrl-C, and what a batch system sends before it kills, reach every process of the group; the
    # parent decides
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(descriptor)
    lock = threading.Lock()

    def report(kind: str, name: str, more: Any) -> None:
        with lock:
            connection.send((kind, name, more))

    calm_warnings()
    forward_logs(report)
    try:
        if ahead:
            _import_ahead()
        pipeline = _made_ready(connection, report)
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        from ..reasons import reason

        report("broken", "", reason(error))
        return
    report("ready", "", None)

    def listen() -> None:
        while True:
            try:
                kind, case = connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the parent is gone; what is half written keeps its temporary name
            if kind == "case":
                pipeline.put(case)
            elif kind == "close":
                pipeline.close()
            else:
                pipeline.stop()

    threading.Thread(target=listen, daemon=True).start()
    try:
        pipeline.run()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)
    report("end", "", None)


if __name__ == "__main__":
    main(int(sys.argv[1]), ahead="ahead" in sys.argv[2:])
