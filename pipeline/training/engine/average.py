"""The moving average of a network's weights, which is what is validated, saved and used."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(network: torch.nn.Module, *, decay: float = 0.99) -> AveragedModel:
    """An exponential moving average of a network's weights and buffers.

    In short trainings the average is better than the last weights.

    Args:
        decay: weight of the old average per step, 0 (no averaging) to below 1.
    """
    return MovingAverage(
        unwrapped(network), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
    )


class MovingAverage(AveragedModel):
    """PyTorch's AveragedModel, which walks through both networks at each step; this does it once.

    That walk took half of the time between two steps of a small network on a GPU.
    """

    def __init__(self, model: torch.nn.Module, **options: Any) -> None:
        super().__init__(model, **options)
        # in a tuple, as a module of its own it would be in the state dict
        self._of: tuple[torch.nn.Module, ...] = ()
        self._places: list[int] = []
        self._groups: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []

    def update_parameters(self, model: torch.nn.Module) -> None:
        """Move the average towards the model; the first time it becomes the model."""
        if self._of != (model,) or self._have_moved():
            self._look_up(model)
        first = int(self.n_averaged) == 0
        with torch.no_grad():
            for mine, theirs in self._groups:
                if first:
                    torch._foreach_copy_(mine, theirs)
                else:
                    assert self.multi_avg_fn is not None
                    self.multi_avg_fn(mine, theirs, self.n_averaged)
        self.n_averaged += 1

    def _look_up(self, model: torch.nn.Module) -> None:
        groups: dict[Any, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        for mine, theirs in zip(_tensors(self.module), _tensors(model), strict=True):
            group = groups.setdefault((mine.device, mine.dtype), ([], []))
            group[0].append(mine)
            group[1].append(theirs)
        self._of, self._groups = (model,), list(groups.values())
        self._places = self._now()

    def _have_moved(self) -> bool:
        """Whether one of the networks got other memory since, on another device for one."""
        return self._places != self._now()

    def _now(self) -> list[int]:
        return [next(net.parameters()).data_ptr() for net in (self.module, *self._of)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_of": (), "_groups": []}


def _tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, out of DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(network, torch.nn.parallel.DistributedDataParallel):
            network = cast(torch.nn.Module, network.module)
        elif hasattr(network, "_orig_mod"):
            network = cast(torch.nn.Module, network._orig_mod)
        else:
            return network
