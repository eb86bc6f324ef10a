"""The memory that a device has for a training step while this process holds some of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

from ...training.windows.place import free_memory


def step_memory_left(device: torch.device, weights: int) -> int:
    """Bytes that there are for a training step, the network's weights with them.

    To be asked before the first step. Cases and averaged weights that lie there are not counted as
    free.

    Args:
        device: of the training.
        weights: bytes of the network's weights, which are there already.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + cached + weights
    left = [free_memory()]
    limit = _address_space_left()
    if limit is not None:
        left.append(limit)
    return min(left) + weights


def device_memory(device: torch.device) -> int | None:
    """Bytes of all the device's memory; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _address_space_left() -> int | None:
    """What `ulimit -v` leaves this process; None without such a limit."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
            return max(limit - taken * resource.getpagesize(), 0)
    return None
