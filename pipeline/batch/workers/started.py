"""Worker processes' beginnings: one may be started before it is known what it is for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from ....data.cores import usable_cores
from ...process_settings import set_up_process


@dataclass(frozen=True, eq=False)
class StartedProcess:
    """A process that runs `main`, and the connection to it."""

    process: subprocess.Popen[bytes]
    connection: Connection

    @classmethod
    def now(cls, *, ahead: bool = False) -> StartedProcess:
        """Start one; it waits to be told what to do.

        Args:
            ahead: it imports meanwhile what every case needs.
        """
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        set_up_process(environment)
        # the parent's paths: a bundle may bring modules of its own
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", f"{__package__}.main", str(theirs.fileno())]
        command += ["ahead"] if ahead else []
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
        )
        theirs.close()
        return cls(process, Connection(ours.detach()))

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.connection.close()


_ahead: list[StartedProcess] = []


def start_ahead() -> None:
    """Start a worker for a run that is about to begin, where a core is free for it.

    Its imports take as long as this process's own, and both go on side by side.
    """
    if os.name == "posix" and usable_cores() > 1 and not _ahead:
        _ahead.append(StartedProcess.now(ahead=True))


def started_process() -> StartedProcess:
    """The process that was started ahead, if it is there, or a new one."""
    while _ahead:
        found = _ahead.pop()
        if found.process.poll() is None:
            return found
        found.end()
    return StartedProcess.now()


def end_ahead() -> None:
    """End a process that nobody has taken."""
    while _ahead:
        _ahead.pop().end()
