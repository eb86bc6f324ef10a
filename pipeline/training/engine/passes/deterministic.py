"""Operations that PyTorch has no deterministic CUDA kernel for, computed by those that have one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .....data.errors import ConfigError

_REFUSED = re.compile(r"(\w+) does not have a deterministic implementation")
_MAX_POOLS = {functional.max_pool2d: 2, functional.max_pool3d: 3}
_MAX_WORDS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_LOSSES = (functional.cross_entropy, functional.nll_loss)


class DeterministicOperations(TorchFunctionMode):
    """A context in which some operations are computed in another way, the same up to rounding.

    - cross-entropy of images and volumes: as that of a list of voxels;
    - the largest values of blocks that do not overlap, as in U-Nets' pooling (PyTorch before 2.13):
      gradients are written to their places, not added up in an order that changes.

    PyTorch itself has another way for linear interpolation, which it takes under
    `torch.use_deterministic_algorithms(True)`. What is left it refuses there, see
    `refused_by_name`; no network here needs any of it. On a CPU all is deterministic as it is.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one torch function; called for each that is called inside the context."""
        options = kwargs or {}
        if func in _LOSSES and len(args) > 1 and args[0].dim() > 2:
            return _of_voxels(func, *args, **options)
        if func in _MAX_POOLS and args:
            asked = dict(zip(_MAX_WORDS, args[1:], strict=False)) | options
            blocks = _blocks(_MAX_POOLS[func], args[0], asked)
            if blocks is not None:
                return _MaxOfBlocks.apply(args[0], blocks)
        return func(*args, **options)


def refused_by_name(error: BaseException) -> ConfigError | None:
    """What to tell of PyTorch's refusal of an operation; None for another error."""
    found = _REFUSED.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    return ConfigError(
        f"--deterministic True: PyTorch {torch.__version__} has no deterministic {found[1]}; "
        "choose another network, a newer PyTorch or --device cpu, or leave --deterministic out"
    )


def _of_voxels(
    func: Callable[..., Any], scores: Any, target: Any, *args: Any, **options: Any
) -> Any:
    """A loss of (N, C, ...) and (N, ...) as one of (voxels, C) and (voxels,)."""
    voxels = scores.movedim(1, -1).flatten(0, -2)
    whole = target.dim() == scores.dim()  # probabilities in the place of classes
    flat = target.movedim(1, -1).flatten(0, -2) if whole else target.flatten()
    loss = func(voxels, flat, *args, **options)
    return loss.reshape(target[:, 0].shape if whole else target.shape) if loss.dim() else loss


def _blocks(axes: int, maps: torch.Tensor, asked: dict[str, Any]) -> list[int] | None:
    """The blocks' size, where they neither overlap nor leave gaps, and nothing else is asked."""
    kernel = _each(asked["kernel_size"], axes)
    usual = (
        not any(_each(asked.get("padding", 0), axes))
        and set(_each(asked.get("dilation", 1), axes)) == {1}
        and not (asked.get("ceil_mode") or asked.get("return_indices"))
        and maps.dim() == axes + 2
    )
    return kernel if usual and _each(asked.get("stride") or kernel, axes) == kernel else None


def _each(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value)


class _MaxOfBlocks(torch.autograd.Function):
    """max_pool of blocks; its gradient is written to where the largest value was, never added."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, blocks: list[int]) -> torch.Tensor:
        pool = functional.max_pool2d if len(blocks) == 2 else functional.max_pool3d
        largest, place = pool(maps, blocks, return_indices=True)
        ctx.save_for_backward(place)
        ctx.shape = maps.shape
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (place,), (gradient,) = ctx.saved_tensors, gradients
        found = gradient.new_zeros(ctx.shape).flatten(2)
        found.scatter_(2, place.flatten(2), gradient.flatten(2))
        return found.view(ctx.shape), None
