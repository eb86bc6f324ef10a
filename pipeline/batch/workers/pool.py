"""Cases computed by workers; each gets its row, come what may."""

from __future__ import annotations

import logging
import pickle
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from ....data.errors import GridgateError
from ..case import Case
from ..pipelined import Report
from ..results.case_result import FAILED, CaseResult
from .handle import AssignedCase, ProcessWorker, Worker

if TYPE_CHECKING:
    from ..processor import CaseProcessor

logger = logging.getLogger("gridgate.cases")

_READY_SECONDS = 600.0  # to import PyTorch from a slow disk and load the network
_STARTS = 3  # workers in a row that end without a case in hand: it is not the cases
_GRACE_SECONDS = 20.0  # for what is being written when the run is stopped


class WorkerError(GridgateError):
    """Worker processes cannot be started."""


class CasePool(ABC):
    """Workers that compute cases, of any kind.

    A worker that dies takes the case it worked on: if it had several in hand, these are run again
    one at a time, and the one that kills its worker then is the one that failed. A case that takes
    longer than the limit is ended by killing its worker; the others in that worker's hands are run
    again.

    Args:
        devices: a worker for each.
        readers: threads per worker that read ahead.
        time_limit: seconds that reading, computing and writing of one case may take together; None
            is no limit.
        report: as CasePipeline's; called in this thread.
    """

    def __init__(
        self,
        *,
        devices: Sequence[str],
        readers: int = 1,
        time_limit: float | None = None,
        report: Report,
    ) -> None:
        self.devices = list(devices)
        self.ahead = readers + 2  # being read, waiting, being computed
        self.time_limit = time_limit
        self.report = report
        self.todo: deque[Case] = deque()
        self.retry_alone: deque[Case] = deque()
        self.workers: list[Any] = []  # Workers of this pool's kind
        self.failed_starts = Counter[str]()  # of each device, in a row
        self.broken: dict[str, str] = {}

    def run(self, cases: Sequence[Case]) -> None:
        """Do all cases.

        Raises:
            WorkerError: no worker can be started.
            KeyboardInterrupt: the run was stopped; what was being written is finished, the workers
                are gone.
        """
        self.todo.extend(cases)
        try:
            self.workers = [self._worker(device) for device in self.devices[: max(1, len(cases))]]
            while self.todo or self.retry_alone or any(worker.cases for worker in self.workers):
                self._assign()
                self._listen(0.25)
                self._check_time()
            for worker in self.workers:
                worker.tell(("close", None))
        except KeyboardInterrupt:
            self._drain()
            raise
        finally:
            self._end()

    @abstractmethod
    def _worker(self, device: str) -> Worker:
        """Start one."""

    @abstractmethod
    def _wait(self, seconds: float) -> None:
        """Wait until one of them has something to say."""

    def _assign(self) -> None:
        for worker in self.workers:
            if worker.ended or not worker.ready or (worker.alone and worker.cases):
                continue
            worker.alone = bool(self.retry_alone)
            if self.retry_alone:  # so that it is known who did it
                if not worker.cases:
                    worker.assign(self.retry_alone.popleft())
                continue
            while self.todo and len(worker.cases) < self.ahead:
                worker.assign(self.todo.popleft())

    def _listen(self, seconds: float) -> None:
        self._wait(seconds)
        for index, worker in enumerate(self.workers):
            for kind, name, more in worker.messages():
                self._take(worker, kind, name, more)
            if worker.ended:
                again = self._reap(worker)
                if again and (self.todo or self.retry_alone):
                    self.workers[index] = self._worker(worker.device)
        self.workers = [worker for worker in self.workers if not worker.ended]

    def _take(self, worker: Worker, kind: str, name: str, more: Any) -> None:
        if kind == "ready":
            worker.ready = True
            return
        if kind == "broken":
            self.broken[worker.device] = str(more)
            return
        if kind == "log":
            level, text = more
            logging.getLogger(name).log(level, text)
            return
        if kind == "end" or name not in worker.cases:
            return
        assigned = worker.cases[name]
        if kind == "done":
            self.failed_starts[worker.device] = 0
            del worker.cases[name]
        elif kind != "windows":
            assigned.enter("" if kind == "wait" else kind)
        self.report(kind, name, more)

    def _reap(self, worker: Worker) -> bool:
        """See to the cases that a dead worker had; whether its device is to be tried again."""
        how = worker.how_it_ended()
        worker.kill("its process closed its connection and went on")
        if not any(assigned.begun for assigned in worker.cases.values()):
            self.failed_starts[worker.device] += 1
        again = self.failed_starts[worker.device] < _STARTS
        if not again:
            why = self.broken.get(worker.device, how)
            if all(other is worker or other.ended for other in self.workers):
                raise WorkerError(f"{worker.device}: no worker process keeps running ({why})")
            logger.warning(f"{worker.device}: not used any more, the others go on ({why})")
        # a crash may be noticed a moment after it was caused, so whatever was begun may have caused
        # it
        begun = [assigned for assigned in worker.cases.values() if assigned.begun]
        if len(worker.cases) == len(begun) == 1:
            stage = f" while it was in the stage {begun[0].stage!r}" if begun[0].stage else ""
            self._fail(begun[0], f"{how}{stage}; the other cases go on")
        else:
            self.retry_alone.extend(assigned.case for assigned in begun)
            self.todo.extendleft(
                assigned.case for assigned in reversed(worker.cases.values()) if not assigned.begun
            )
        worker.cases = {}
        return again

    def _check_time(self) -> None:
        for worker in self.workers:
            if not worker.ready and time.monotonic() - worker.started > _READY_SECONDS:
                worker.kill(f"its process did not start within {_READY_SECONDS:g} s")
        if self.time_limit is None:
            return
        for index, worker in enumerate(self.workers):
            for kind, name, more in worker.messages():  # one may be done, and only not yet heard of
                self._take(worker, kind, name, more)
            late = [
                assigned for assigned in worker.cases.values() if assigned.seconds > self.time_limit
            ]
            if not late:
                continue
            worker.kill("its process took too long and was ended")
            for assigned in late:
                stage = f" in the stage {assigned.stage!r}" if assigned.stage else ""
                self._fail(assigned, f"took longer than the limit of {self.time_limit:g} s{stage}")
                del worker.cases[assigned.case.id]
            self.todo.extendleft(
                assigned.case for assigned in reversed(list(worker.cases.values()))
            )
            self.workers[index] = self._worker(worker.device)

    def _fail(self, assigned: AssignedCase, why: str) -> None:
        case = assigned.case
        self.report("done", case.id, CaseResult(case.id, case.source, FAILED, reason=why))

    def _drain(self) -> None:
        """After Ctrl-C: what is being written is finished, and gets its row."""
        for worker in self.workers:
            worker.tell(("stop", None))
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until and any(not w.ended and w.ready for w in self.workers):
            self._wait(0.25)
            for worker in self.workers:
                for kind, name, more in worker.messages():
                    self._take(worker, kind, name, more)

    def _end(self) -> None:
        for worker in self.workers:
            worker.leave()


class WorkerPool(CasePool):
    """Worker processes that compute cases, on this machine.

    Args:
        processor: what to do with a case; its `device` is replaced.
        threads: PyTorch's threads per worker; None leaves its default.
        scratch: folder for the workers' temporary files; the caller removes it, since a killed
            worker does not.
        readers, **options: as of CasePool.
    """

    def __init__(
        self,
        processor: CaseProcessor,
        *,
        readers: int = 1,
        threads: int | None = None,
        scratch: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(readers=readers, **options)
        self.payload = pickle.dumps(
            {"readers": readers, "threads": threads, "processor": processor}
        )
        self.scratch = scratch

    def _worker(self, device: str) -> ProcessWorker:
        return ProcessWorker(device, payload=self.payload, scratch=self.scratch)

    def _wait(self, seconds: float) -> None:
        wait([worker.connection for worker in self.workers if not worker.ended], timeout=seconds)
