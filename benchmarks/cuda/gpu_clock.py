"""How busy a GPU is, and what is held on it: nvidia-smi's numbers, by samples."""

from __future__ import annotations

import subprocess
import threading
import time
from types import TracebackType
from typing import IO


class GpuClock:
    """Samples of the first GPU while the context is open; without nvidia-smi there are none."""

    def __init__(self, every_ms: int = 200) -> None:
        self._command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu,memory.used"]
        self._command += ["--format=csv,noheader,nounits", f"--loop-ms={every_ms}"]
        self._samples: list[tuple[float, float, float]] = []  # time, %, MiB

    def __enter__(self) -> GpuClock:
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            self._process = None
            return self
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def busy_percent(self, began: float, ended: float) -> float | None:
        """Mean over the samples between two times of time.monotonic(); None without any."""
        found = [share for at, share, _ in self._samples if began <= at <= ended]
        return sum(found) / len(found) if found else None

    def peak_gb(self) -> float | None:
        """The most that all processes held, the allocators' reserves with it; None without any."""
        return max((used for _, _, used in self._samples), default=0.0) * 2**20 / 1e9 or None

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            try:
                share, used = (float(number) for number in line.split(","))
                self._samples.append((time.monotonic(), share, used))
            except ValueError:
                continue  # "[N/A]"
