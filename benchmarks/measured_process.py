"""A contestant in a fresh process: seconds, peak memory, and how it ended."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.05  # seconds between two looks at the memory
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Measured:
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak_gb: most memory at one moment (1e9 bytes): proportional set size summed over the
            process and all its descendants, looked at every INTERVAL.
        max_rss_gb: the kernel's high-water mark of the largest single process among them
            (ru_maxrss).
        failure: "" or why there is no result, in words.
    """

    seconds: float
    peak_gb: float
    max_rss_gb: float
    failure: str


def run_measured(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    memory_limit_gb: float,
    time_limit_s: float,
) -> Measured:
    """Run a command to its end with its output in a file; it is killed when it passes a limit.

    The caller should be small: Linux starts a child's ru_maxrss at the high-water mark of its
    parent.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        watch = _Watch(process.pid, memory_limit_gb=memory_limit_gb, time_limit_s=time_limit_s)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C, or the benchmark is ended: nothing of it goes on
            watch.end("stopped")
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait again
        watch.stop()
    failure = watch.reason
    if not failure and process.returncode != 0:
        lines = [
            line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()
        ]
        failure = f"ended with {process.returncode}: {lines[-1] if lines else 'no output'}"
    return Measured(seconds, watch.peak / 1e9, usage.ru_maxrss * 1024 / 1e9, failure)


def available_gb() -> float:
    """Memory that the kernel says can be had without swapping, in 1e9 bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e9
    return float("inf")


class _Watch(threading.Thread):
    """Looks at a process tree, for a tenth of the time at most: PSS takes a walk of its pages."""

    def __init__(self, root: int, *, memory_limit_gb: float, time_limit_s: float) -> None:
        super().__init__(daemon=True)
        self.root, self.limit, self.peak, self.reason = root, memory_limit_gb * 1e9, 0, ""
        self.deadline = time.perf_counter() + time_limit_s
        self.over = threading.Event()

    def stop(self) -> None:
        """The process has ended."""
        self.over.set()
        self.join()

    def run(self) -> None:
        next_look = 0.0
        while not self.over.wait(INTERVAL):
            now = time.perf_counter()
            tree = _tree(self.root)
            resident = sum(map(_resident, tree))
            # one process shares only libraries: what is resident cannot be far below a new peak
            if resident > self.peak and now >= next_look:
                self.peak = max(self.peak, sum(map(_proportional, tree)))
                next_look = time.perf_counter() + 10 * (time.perf_counter() - now)
            if resident > self.limit:
                self.end(f"stopped: it needed more than {self.limit / 1e9:.1f} GB")
            elif now > self.deadline:
                self.end("stopped: it took longer than allowed")

    def end(self, reason: str) -> None:
        """Kill the whole tree."""
        self.reason = self.reason or reason
        for process in reversed(_tree(self.root)):
            try:
                os.kill(process, 9)
            except ProcessLookupError:
                continue


def _tree(root: int) -> list[int]:
    found, new = [root], [root]
    while new:
        children: list[int] = []
        for process in new:
            for tasks in Path(f"/proc/{process}/task").glob("*/children"):
                try:
                    children += map(int, tasks.read_text().split())
                except OSError:
                    continue
        found += children
        new = children
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _proportional(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    return _resident(process)
