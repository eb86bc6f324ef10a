"""A worker process as its parent sees it: started, spoken to, listened to, killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ...process_settings import set_up_process
from ..processor import Case


@dataclass
class InHand:
    """A case that a worker has.

    Args:
        stage: "" while it waits, else the stage that it is in.
        since: when that began.
        spent: seconds in stages before.
        begun: whether it has entered a stage.
    """

    item: Case
    stage: str = ""
    since: float = 0.0
    spent: float = 0.0
    begun: bool = False

    def enter(self, stage: str) -> None:
        """Note that a stage begins, or with "" that the case waits."""
        now = time.monotonic()
        if self.stage:
            self.spent += now - self.since
        self.stage, self.since, self.begun = stage, now, True

    @property
    def seconds(self) -> float:
        """Spent on it so far, without waiting."""
        return self.spent + (time.monotonic() - self.since if self.stage else 0.0)


@dataclass
class Worker:
    """One process for one device, and the cases that it has; by id, in the order in which they were given."""

    device: str
    payload: bytes
    scratch: str | None = None
    cases: dict[str, InHand] = field(default_factory=dict)
    ready: bool = False
    alone: bool = False  # it has one case, and gets no other until that is done
    ended: bool = False
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        set_up_process(environment)
        if self.scratch is not None:
            environment["TMPDIR"] = self.scratch
        # the parent's paths: a bundle may bring modules of its own
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", f"{__package__}.main", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.tell(self.payload)
        self.tell(self.device)

    def give(self, item: Case) -> None:
        """Hand over a case."""
        self.cases[item["id"]] = InHand(item)
        self.tell(("case", item))

    def tell(self, message: Any) -> None:
        """Send; a worker that is gone is noticed elsewhere."""
        try:
            if isinstance(message, bytes):
                self.connection.send_bytes(message)
            else:
                self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def messages(self) -> list[tuple[str, str, Any]]:
        """What it has said since the last time; marks it as ended when it has closed the connection."""
        found: list[tuple[str, str, Any]] = []
        try:
            while not self.ended and self.connection.poll():
                found.append(self.connection.recv())
        except (EOFError, OSError):
            self.ended = True
        return found

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        with suppress(
            subprocess.TimeoutExpired
        ):  # one that hangs in a driver cannot even be killed
            self.process.wait(timeout=5)
        self.connection.close()
        self.ended = True

    def how_it_ended(self) -> str:
        """The exit code in words."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its process hangs"
        if code >= 0:
            return f"its process ended with code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = ": probably by the system, for lack of memory" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
