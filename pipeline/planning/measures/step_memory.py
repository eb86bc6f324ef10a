"""The memory of a training step, found on PyTorch's meta device: nothing is computed or held.

Each tensor of a forward pass, a loss, a backward pass and AdamW's step is made without its
memory, and what is alive at the same time is added up. What it does not know is what the kernels
take for themselves and what the allocator leaves unused; see `RESERVE`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ....data.errors import ConfigError
from ...models.build import build_network

RESERVE = 1.35
"""By how much a real step's peak is taken to be above the meta device's."""
CONTEXT_BYTES = 600 << 20
"""What CUDA and its libraries hold besides, and about what oneDNN does."""


class _Alive(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def add(self, tensor: Any) -> None:
        if not isinstance(tensor, torch.Tensor):
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        self._known[key] = weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.now -= size

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        pytree.tree_map_(self.add, made)
        return made


def step_bytes(
    network: Mapping[str, Any],
    *,
    window: Sequence[int],
    batch: int,
    channels: int,
    outputs: int,
    half: bool = False,
) -> int:
    """Bytes of a training step at its peak, weights and AdamW's moments with them.

    Args:
        network: its name in networks.registry under "name", and its options.
        window: (x, y, z) voxels.
        batch: windows.
        channels, outputs: of the network.
        half: the network runs in 16 bits, as autocast has it; loss and weights stay in 32.

    Raises:
        ConfigError: the network refuses an option or the window.
    """
    try:
        with torch.device("meta"):
            model = build_network(network, in_channels=channels, out_channels=outputs)
            model = model.to("meta").train()
            return _run(model, (batch, channels, *window), half)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"windows of {list(window)}, {batch} at once: {error}") from error


def needed_bytes(step: int) -> int:
    """What a device must have for a step that the meta device gives so many bytes."""
    return int(RESERVE * step) + CONTEXT_BYTES


def _run(model: torch.nn.Module, shape: tuple[int, ...], half: bool) -> int:
    weights = sum(one.nbytes for one in model.parameters())
    if half:
        model.bfloat16()
    alive = _Alive()
    pytree.tree_map_(alive.add, [*model.parameters(), *model.buffers()])
    with alive:
        # AdamW's moments are there before the step; PyTorch's own asks for numbers, and the meta
        # device of some versions has none
        moments = [torch.zeros_like(one) for one in model.parameters() for _ in range(2)]
        image = torch.empty(shape, dtype=torch.bfloat16 if half else torch.float32)
        labels = torch.empty(shape[0], 1, *shape[2:])
        _loss(model(image), labels).backward()
        largest = max(model.parameters(), key=torch.Tensor.numel)
        temporary = [torch.empty_like(largest) for _ in range(2)]  # of a step
    del moments, temporary
    # in half precision gradients, moments and the weights themselves still have 32 bits each
    return alive.peak + (2 * weights if half else 0)


def _loss(heads: Any, labels: torch.Tensor) -> torch.Tensor:
    """Dice and cross-entropy of all heads: what the losses here hold, without MONAI's checks."""
    if isinstance(heads, torch.Tensor):
        heads = [heads]
    terms = [_head_loss(one.float(), labels) for one in heads]
    return torch.stack(terms).sum()


def _head_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    labels = functional.interpolate(labels, logits.shape[2:]).long()
    if logits.shape[1] == 1:
        probabilities, target = logits.sigmoid(), labels.float()
        entropy = functional.binary_cross_entropy_with_logits(logits, target)
    else:
        probabilities = logits.softmax(1)
        target = torch.zeros_like(logits).scatter_(1, labels, 1.0)
        entropy = functional.cross_entropy(logits, labels[:, 0])
    axes = tuple(range(2, logits.ndim))
    both = (probabilities * target).sum(axes)
    either = probabilities.sum(axes) + target.sum(axes)
    return (1 - 2 * both / either).mean() + entropy
