"""Work on the cases of a dataset, in processes: one case in the memory of each at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from ..cores import usable_cores
from ..errors import DatasetError

_ALONE_BYTES = 32 << 20  # with less on disk, starting processes takes longer than the work

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int
) -> Iterator[Result]:
    """What a function makes of each job, in the order in which they are done.

    No more is handed out ahead than there are workers, so that results do not pile up.

    Args:
        function: of a module, so that other processes can import it.
        jobs: one per case.
        workers: processes; with fewer than 2 the work is done in this one.

    Raises:
        DatasetError: a process was killed. What `function` raises is raised as it is.
    """
    if workers < 2:
        yield from map(function, jobs)
        return
    waiting = iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(function, job) for job in islice(waiting, workers + 1)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                running |= {pool.submit(function, job) for job in islice(waiting, len(done))}
        except BrokenProcessPool:
            raise DatasetError(
                "a process that reads the cases was killed, probably for want of memory; try "
                "--workers 1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def worker_count(files: Iterable[Path], jobs: int, wanted: int | None) -> int:
    """How many processes for so many jobs: what is wanted, else one per core, or 1 for little data.

    Args:
        files: of all jobs.
        jobs: how many there are.
        wanted: None leaves it to the data's size.
    """
    if wanted is not None:
        return min(wanted, jobs)
    size = 0
    for path in files:
        size += path.stat().st_size if path.exists() else 0
        if size > _ALONE_BYTES:
            return min(usable_cores(), jobs)
    return 1
