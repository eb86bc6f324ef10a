"""A worker as its parent sees it: started, spoken to, listened to, killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from ..case import Case
from .started import started_process

_NOTHING_MORE = object()


@dataclass
class AssignedCase:
    """A case that a worker has.

    Args:
        case: the case.
        stage: "" while it waits, else the stage that it is in.
        since: when that began.
        spent: seconds in stages before.
        begun: whether it has entered a stage.
    """

    case: Case
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
class Worker(ABC):
    """Who computes cases, one at least at a time, and the cases that it has.

    Args:
        device: that it computes on, or what else it is called.
        cases: by id, in the order in which they were assigned.
        ready: it has said that it can compute.
        alone: it has one case, and gets no other until that is done.
        ended: it is gone.
        killed: why we have killed it.
    """

    device: str
    cases: dict[str, AssignedCase] = field(default_factory=dict)
    ready: bool = False
    alone: bool = False
    ended: bool = False
    killed: str | None = None
    started: float = field(default_factory=time.monotonic)

    def assign(self, case: Case) -> None:
        """Hand over a case."""
        self.cases[case.id] = AssignedCase(case)
        self.tell(("case", case))

    @abstractmethod
    def tell(self, message: Any) -> None:
        """Send; a worker that is gone is noticed elsewhere."""

    @abstractmethod
    def messages(self) -> list[tuple[str, str, Any]]:
        """What it has said since the last time; notes when it is gone."""

    @abstractmethod
    def kill(self, why: str) -> None:
        """End it at once, if it still runs.

        Args:
            why: what `how_it_ended` is to say, unless it had ended by itself.
        """

    @abstractmethod
    def how_it_ended(self) -> str:
        """In words, or why we killed it."""

    @abstractmethod
    def leave(self) -> None:
        """End it, when the run has ended: it may finish what it does, if it has nothing to do."""


@dataclass
class ProcessWorker(Worker):
    """One process for one device.

    Args:
        payload: pickled, what it needs to start: see `main`.
        scratch: folder for its temporary files.
    """

    payload: bytes = b""
    scratch: str | None = None

    def __post_init__(self) -> None:
        started = started_process()
        self.process, self.connection = started.process, started.connection
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._sender = threading.Thread(target=self._sending, daemon=True)
        self._sender.start()
        self.tell({"path": sys.path, "scratch": self.scratch})
        self.tell(self.payload)
        self.tell(self.device)

    def tell(self, message: Any) -> None:
        """Send, without waiting for it; a worker that is gone is noticed elsewhere."""
        self._outbox.put(message)

    def _sending(self) -> None:
        """In a thread of its own: a worker that hangs does not read, and its parent must go on."""
        while (message := self._outbox.get()) is not _NOTHING_MORE:
            try:
                if isinstance(message, bytes):
                    self.connection.send_bytes(message)
                else:
                    self.connection.send(message)
            except OSError:  # it is gone, or its connection is closed
                return

    def messages(self) -> list[tuple[str, str, Any]]:
        """What it has said since the last time; notes when the connection has ended."""
        found: list[tuple[str, str, Any]] = []
        try:
            while not self.ended and self.connection.poll():
                found.append(self.connection.recv())
        except (EOFError, OSError):
            self.ended = True
        return found

    def kill(self, why: str) -> None:
        """End it at once, if it still runs.

        Args:
            why: what `how_it_ended` is to say, unless it had ended by itself.
        """
        if self.process.poll() is None:
            self.killed = why
            self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)  # one that hangs in a driver cannot even be killed
        self._outbox.put(_NOTHING_MORE)
        self._sender.join(timeout=1)  # of a process that is gone it has ended
        self.connection.close()
        self.ended = True

    def how_it_ended(self) -> str:
        """The exit code in words, or why we killed it."""
        if self.killed is not None:
            return self.killed
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its process hangs"
        if code >= 0:
            return f"its process ended with code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = ": probably by the system, for lack of memory" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{why}"

    def leave(self) -> None:
        """End it, when the run has ended: it may finish what it does, if it has nothing to do."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5 if self.ready and not self.cases else 0)
        self.kill("the run has ended")
