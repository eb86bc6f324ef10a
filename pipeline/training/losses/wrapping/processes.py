"""Sums over the processes of a training on several GPUs, with their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def join_processes(loss: Any) -> None:
    """Have Gridgate's losses, in others as well, be those of all processes' windows together.

    Each process then has the same loss, and has to compute it.
    """
    modules: Iterable[Any] = loss.modules() if isinstance(loss, torch.nn.Module) else ()
    for module in modules:
        if hasattr(module, "of_processes"):
            module.of_processes = True


def added_up(mine: Tensor) -> Tensor:
    """The sum over all processes, for a loss that all compute of it alike.

    The gradient is that of the mean over the processes which DistributedDataParallel takes
    afterwards: as many times larger as there are processes.

    Args:
        mine: this process's sums, of the same shape in each.
    """
    return _Added.apply(mine)


def of_all(mine: Sequence[Any]) -> list[Any]:
    """The different items of all processes, sorted; each process gets the same list."""
    found: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, sorted(set(mine)))
    return sorted({item for part in found for item in part})


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # the loss is the same function of the same sums in each process, and so is this gradient
        return gradient * dist.get_world_size()
