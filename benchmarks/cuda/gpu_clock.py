"""How busy a GPU is: nvidia-smi's share of the time in which a kernel runs, by samples."""

from __future__ import annotations

import subprocess
import threading
import time
from types import TracebackType
from typing import IO


class GpuClock:
    """Samples of the first GPU while the context is open; without nvidia-smi there are none."""

    def __init__(self, every_ms: int = 200) -> None:
        self._command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu"]
        self._command += ["--format=csv,noheader,nounits", f"--loop-ms={every_ms}"]
        self._samples: list[tuple[float, float]] = []

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
        found = [share for at, share in self._samples if began <= at <= ended]
        return sum(found) / len(found) if found else None

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            try:
                self._samples.append((time.monotonic(), float(line)))
            except ValueError:
                continue  # "[N/A]"
