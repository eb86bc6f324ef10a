"""A step's forward and backward pass as one CUDA graph: its kernels are recorded and replayed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch.utils._pytree import tree_map

logger = logging.getLogger(__name__)

_WARM_UP = 3  # runs before the recording, in which cuDNN chooses its kernels


class GraphedStep:
    """What a batch gives, forward and backward, replayed from a CUDA graph.

    A small network's step is a thousand kernels of microseconds each, and the GPU waits for Python
    to launch them one by one: a training of hippocampus spent 38 ms in a step of 6 ms of kernels
    (H100). Replayed as one graph they follow each other at once, and compute the same.

    The graph is recorded with the first batch and knows batches of its shapes alone. What waits for
    the GPU within the step (a loss that looks at its values) cannot be recorded; such a step stays
    as it is, and the log says so.

    Args:
        step: (image, label) to (prediction, loss), with the gradients in the parameters' `grad`.
        network: whose parameters and buffers the step uses; its buffers and the GPU's random state
            are after the recording what they were before.
    """

    def __init__(
        self,
        step: Callable[[torch.Tensor, torch.Tensor], tuple[Any, torch.Tensor]],
        network: torch.nn.Module,
    ) -> None:
        self._step = step
        self._network = network
        self._parameters = list(network.parameters())
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: Any = None
        self._gradients: list[torch.Tensor | None] = []
        self.works = True
        """False once recording has failed."""

    def __call__(self, image: torch.Tensor, label: torch.Tensor) -> tuple[Any, torch.Tensor] | None:
        """Prediction and loss of a batch on the GPU; None where it must be computed as usual."""
        if self.works and self._graph is None:
            self._record(image, label)
        if self._graph is None or _forms(self._inputs) != _forms((image, label)):
            return None
        for mine, given in zip(self._inputs, (image, label), strict=True):
            mine.copy_(given)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        prediction, loss = tree_map(torch.Tensor.clone, self._outputs)
        return prediction, loss

    def _record(self, *batch: torch.Tensor) -> None:
        network, device = self._network, batch[0].device
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        draws = torch.cuda.get_rng_state(device)
        # the layout in memory too is the batch's
        inputs = tuple(torch.empty_like(tensor).copy_(tensor) for tensor in batch)
        graph = torch.cuda.CUDAGraph()
        try:
            side = torch.cuda.Stream(device)
            side.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    _forget(self._parameters)
                    self._step(*inputs)
            torch.cuda.current_stream(device).wait_stream(side)
            _forget(self._parameters)
            # "thread_local": the thread that pins the next batches may go on meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._step(*inputs)
        except RuntimeError as error:
            self.works = False
            _let_draw_again(device)
            first = str(error).strip().partition("\n")[0]
            logger.info(f"the step is no CUDA graph, its kernels are launched one by one: {first}")
        else:
            self._graph, self._inputs = graph, inputs
            self._outputs = tree_map(torch.Tensor.detach, outputs)
            self._gradients = [parameter.grad for parameter in self._parameters]
        _forget(self._parameters)
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
        torch.cuda.set_rng_state(draws, device)


def _let_draw_again(device: torch.device) -> None:
    """Record a graph of next to nothing.

    Before 2.13 PyTorch's random numbers stay as in a recording where that has failed, so that
    dropout fails from then on; the end of a sound recording sets them free.
    """
    with suppress(RuntimeError):
        one = torch.zeros(1, device=device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            one.add_(1)


def _forget(parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _forms(tensors: Iterable[torch.Tensor]) -> list[Any]:
    return [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]
