"""Reading, computing and writing of different cases side by side, in one process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a worker process gets its steps pickled, and imports what they need then
    from .processor import Case, CaseSteps

Report = Callable[[str, str, Any], None]
"""Called from any of the line's threads with what happened, the case's id and more: ("read", id, None), ("compute", id,
None), ("windows", id, (done, total)), ("write", id, None), ("done", id, row), and ("wait", id, None) in between."""


class StoppedError(Exception):
    """The line was told to stop; the case in hand is given up and comes again in the next run."""

    stops_the_run = True


class CaseLine:
    """An assembly line of three stations: threads, since numpy, zlib and torch let each other work.

    Reading runs ahead by as many cases as there are readers, writing follows by one: so many cases
    are in memory at the most, whatever the length of the folder. A case's failure is its row;
    nothing of it is raised.

    Args:
        steps: prepared.
        readers: threads that read.
        report: told of every step.
    """

    def __init__(self, steps: CaseSteps, *, readers: int = 1, report: Report) -> None:
        self.steps = steps
        self.report = report
        self._inbox: queue.Queue[Case | None] = queue.Queue()
        self._read: queue.Queue[Case | None] = queue.Queue(maxsize=1)
        self._segmented: queue.Queue[Case | None] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._reading, daemon=True) for _ in range(max(1, readers))
        ]
        self._writer = threading.Thread(target=self._writing, daemon=True)
        self._error: BaseException | None = None

    def put(self, item: Case) -> None:
        """Put a case {"id", "image", ...} on the line."""
        self._inbox.put(item)

    def close(self) -> None:
        """Say that no more cases will come."""
        for _ in self._threads:
            self._inbox.put(None)

    def stop(self) -> None:
        """Give up what is being read and computed, finish what is being written, and end `run`."""
        self._stopped.set()
        self.close()

    def run(self) -> None:
        """Compute, in this thread, until the line is closed and empty, or stopped.

        Raises:
            Exception: what `report` raised, or a bug of ours.
        """
        for thread in (*self._threads, self._writer):
            thread.start()
        ended = 0
        try:
            while ended < len(self._threads) and self._error is None and not self._stopped.is_set():
                try:
                    case = self._read.get(timeout=0.5)  # so that an error elsewhere is seen
                except queue.Empty:
                    continue
                if case is None:
                    ended += 1
                elif not self._stopped.is_set():
                    self._compute(case)
                    del case  # not kept while waiting for the next one
        finally:
            self._stopped.set()  # whoever still reads gives up
            self._hand_on(self._segmented, None)
            self._writer.join()
        if self._error is not None:
            raise self._error

    def _compute(self, case: Case) -> None:
        name = case["files"]["id"]
        self.report("compute", name, None)
        try:
            done = self.steps.segment(case, lambda done, total: self._progress(name, done, total))
        except StoppedError:
            return
        self.report("wait", name, None)
        self._hand_on(self._segmented, done)

    def _progress(self, name: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise StoppedError
        self.report("windows", name, (done, total))

    def _reading(self) -> None:
        try:
            while (item := self._inbox.get()) is not None and not self._stopped.is_set():
                self.report("read", item["id"], None)
                case = self.steps.read(item)
                self.report("wait", item["id"], None)
                self._hand_on(self._read, case)
                del case
        except BaseException as error:
            self._error = self._error or error
        self._hand_on(self._read, None)

    def _writing(self) -> None:
        try:
            while (case := self._segmented.get()) is not None:
                name = case["files"]["id"]
                self.report("write", name, None)
                row = self.steps.finish(case)
                del case
                self.report("done", name, row)
        except BaseException as error:
            self._error = self._error or error
            self._stopped.set()
            while self._segmented.get() is not None:  # so that nobody waits for room
                pass

    def _hand_on(self, to: queue.Queue[Case | None], case: Case | None) -> None:
        """Wait for room; but not after a stop, when nobody may be left to make it."""
        while True:
            try:
                return to.put(case, timeout=0.5)
            except queue.Full:
                if self._stopped.is_set() and to is self._read:
                    return None
