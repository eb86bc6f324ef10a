"""MONAI's classes under this room's contract: options in the signature, divisor, head weights."""

import inspect
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeVar

from torch import nn

Make = TypeVar("Make", bound=Callable[..., nn.Module])

_COMMON = ("self", "spatial_dims", "in_channels", "out_channels")


def hands_on_to(kind: type[nn.Module], *, without: Sequence[str] = ()) -> Callable[[Make], Make]:
    """Show a MONAI class's options in the signature of a function that hands them on.

    ``build`` looks there.
    """

    def sign(function: Make) -> Make:
        own = inspect.signature(function).parameters
        shown = [parameter for parameter in own.values() if parameter.kind != parameter.VAR_KEYWORD]
        shown += [
            parameter.replace(kind=parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(kind.__init__).parameters.items()
            if name not in {*own, *_COMMON, *without}
        ]
        function.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        return function

    return sign


def contracted(net: Any, divisor: tuple[int, ...], *, heads: int = 1) -> nn.Module:
    """The network with the contract's attributes."""
    net.divisor = divisor
    net.head_weights = tuple(2.0 ** (heads - 1 - head) / (2**heads - 1) for head in range(heads))
    return net


def product(strides: Sequence[Sequence[int] | int], spatial_dims: int) -> tuple[int, ...]:
    """Voxels per axis of the input to one of the coarsest level."""
    each = [
        (stride,) * spatial_dims if isinstance(stride, int) else tuple(stride) for stride in strides
    ]
    return tuple(prod(axis) for axis in zip(*each, strict=True))
