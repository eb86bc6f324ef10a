"""Reading, computing and writing of different cases side by side, in one process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .case import Case, CaseInProgress, StoppedError

if TYPE_CHECKING:  # a worker process imports PyTorch when it gets its processor
    from .processor import CaseProcessor

Report = Callable[[str, str, Any], None]
"""Called from any of the threads with what happened, the case's id and more: ("read", id, None),
("compute", id, None), ("windows", id, (done, total)), ("write", id, None), ("done", id,
CaseResult), and ("wait", id, None) in between."""


class CasePipeline:
    """A pipeline of three stages: threads, since NumPy, zlib and PyTorch release the interpreter.

    Reading runs ahead by as many cases as there are readers, writing follows by one: so many cases
    are in memory at the most, whatever the length of the folder. A case's failure is its result;
    nothing of it is raised.

    Args:
        processor: prepared.
        readers: threads that read.
        report: told of every step.
    """

    def __init__(self, processor: CaseProcessor, *, readers: int = 1, report: Report) -> None:
        self.processor = processor
        self.report = report
        self._todo: queue.Queue[Case | None] = queue.Queue()
        self._read: queue.Queue[CaseInProgress | None] = queue.Queue(maxsize=1)
        self._segmented: queue.Queue[CaseInProgress | None] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._reading, daemon=True) for _ in range(max(1, readers))
        ]
        self._writer = threading.Thread(target=self._writing, daemon=True)
        self._error: BaseException | None = None

    def put(self, case: Case) -> None:
        """Add a case."""
        self._todo.put(case)

    def close(self) -> None:
        """Say that no more cases will come."""
        for _ in self._threads:
            self._todo.put(None)

    def stop(self) -> None:
        """Give up what is being read and computed, finish what is being written, end `run`."""
        self._stopped.set()
        self.close()

    def run(self) -> None:
        """Compute, in this thread, until the pipeline is closed and empty, or stopped.

        Raises:
            Exception: what `report` raised, or a bug of ours.
        """
        for thread in (*self._threads, self._writer):
            thread.start()
        ended = 0
        try:
            while ended < len(self._threads) and self._error is None and not self._stopped.is_set():
                try:
                    work = self._read.get(timeout=0.5)  # so that an error elsewhere is seen
                except queue.Empty:
                    continue
                if work is None:
                    ended += 1
                elif not self._stopped.is_set():
                    self._compute(work)
                    del work  # not kept while waiting for the next one
        finally:
            self._stopped.set()  # whoever still reads gives up
            self._hand_on(self._segmented, None)
            self._writer.join()
        if self._error is not None:
            raise self._error

    def _compute(self, work: CaseInProgress) -> None:
        name = work.case.id
        self.report("compute", name, None)
        try:
            self.processor.segment(work, lambda done, total: self._progress(name, done, total))
        except StoppedError:
            return
        self.report("wait", name, None)
        self._hand_on(self._segmented, work)

    def _progress(self, name: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise StoppedError
        self.report("windows", name, (done, total))

    def _reading(self) -> None:
        try:
            while (case := self._todo.get()) is not None and not self._stopped.is_set():
                self.report("read", case.id, None)
                work = self.processor.read(case)
                self.report("wait", case.id, None)
                self._hand_on(self._read, work)
                del work
        except BaseException as error:
            self._error = self._error or error
        self._hand_on(self._read, None)

    def _writing(self) -> None:
        try:
            while (work := self._segmented.get()) is not None:
                name = work.case.id
                self.report("write", name, None)
                result = self.processor.finish(work)
                del work
                self.report("done", name, result)
        except BaseException as error:
            self._error = self._error or error
            self._stopped.set()
            while self._segmented.get() is not None:  # so that nobody waits for room
                pass

    def _hand_on(self, to: queue.Queue[CaseInProgress | None], work: CaseInProgress | None) -> None:
        """Wait for room; but not after a stop, when nobody may be left to make it."""
        while True:
            try:
                return to.put(work, timeout=0.5)
            except queue.Full:
                if self._stopped.is_set() and to is self._read:
                    return None
