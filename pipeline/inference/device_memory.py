"""What fits where: decided from the device's free memory before it fails."""

from __future__ import annotations

from collections.abc import Iterator

import torch

_SPARE = 0.9  # of what is free; fragments and other programs take some


def watch_peak(device: torch.device) -> None:
    """From here on the device's peak is what the network needs; before the first forward pass."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def free_bytes(device: torch.device) -> int | None:
    """What a CUDA device can give beside the peak since `watch_peak`; None for a CPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device)


def accumulator_device(device: torch.device, needed: int) -> torch.device:
    """Where to accumulate: on the device if `needed` bytes are free there, else on the CPU.

    To be asked after a first forward pass, when what the network itself needs is taken already.
    """
    free = free_bytes(device)
    return device if free is None or needed <= _SPARE * free else torch.device("cpu")


def upload(windows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Windows on the device to compute on; by a pinned, asynchronous copy to a GPU."""
    if windows.device == device:
        return windows
    if device.type == "cuda" and windows.device.type == "cpu":
        windows = windows.pin_memory()
    return windows.to(device, non_blocking=True)


class AsyncCopies:
    """Copies of scores from a GPU to the machine's memory, one behind, while the GPU computes."""

    def __init__(self) -> None:
        self._pending: tuple[torch.Tensor, torch.cuda.Event] | None = None

    def add(self, scores: torch.Tensor, device: torch.device) -> Iterator[torch.Tensor]:
        """Take scores that go to `device`; those that have arrived, in order."""
        yield from self.rest()
        if scores.device.type == "cuda" and device.type == "cpu":
            pinned = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
            pinned.copy_(scores, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(scores.device))
            self._pending = pinned, event
        else:
            yield scores.to(device)

    def rest(self) -> Iterator[torch.Tensor]:
        """Those that are still on their way."""
        if self._pending is not None:
            (scores, event), self._pending = self._pending, None
            event.synchronize()
            yield scores
