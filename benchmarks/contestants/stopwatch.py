"""Clocks for the contestants; without Gridgate or MONAI, which nnU-Net's interpreter lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch


class Stages:
    """Seconds of each named part of a run, in the order they were first entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's seconds to a stage."""
        started = now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + now() - started

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds added to a stage."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed


class ForwardClock:
    """Seconds inside a network's forward passes: wall time on a CPU, the GPU's own time on CUDA.

    On CUDA nothing is waited for: events are put before and behind each pass, and read at the end.
    """

    def __init__(self) -> None:
        self.windows, self._wall, self._events = 0, 0.0, []  # type: ignore[var-annotated]

    def wrap(self, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        """A forward method that is timed; the windows of each batch are counted."""

        def timed(module: Any, batch: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.windows += len(batch)
            if batch.is_cuda:
                before, behind = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                result = forward(module, batch, *args, **kwargs)
                behind.record()
                self._events.append((before, behind))
                return result
            started = perf_counter()
            result = forward(module, batch, *args, **kwargs)
            self._wall += perf_counter() - started
            return result

        return timed

    def reset(self) -> None:
        """Forget what was before."""
        self.windows, self._wall, self._events = 0, 0.0, []

    @property
    def seconds(self) -> float:
        """All passes since the last reset."""
        if self._events:
            torch.cuda.synchronize()
        return (
            self._wall + sum(before.elapsed_time(behind) for before, behind in self._events) / 1000
        )


def now() -> float:
    """The clock, once the GPU has done what it was given."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return perf_counter()


def gpu_peak_gb() -> float | None:
    """Most memory that PyTorch had of the first GPU, in 1e9 bytes; None without one."""
    return torch.cuda.max_memory_reserved() / 1e9 if torch.cuda.is_available() else None


def write_result(path: str | Path, result: dict[str, Any]) -> None:
    """Leave the numbers for inference.py."""
    beside = f"{path}.part"
    Path(beside).write_text(json.dumps(result, indent=1))
    os.replace(beside, path)
