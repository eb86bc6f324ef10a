"""nnU-Net's own networks, by `dynamic_network_architectures`, for weights that it trained."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from math import prod
from typing import Any

from torch import nn

from .layers.instance_norm import InstanceNorm2d, InstanceNorm3d

NNUNET = "nnunet"
"""The name of these networks in an architecture."""
CLASSES = ("PlainConvUNet", "ResidualEncoderUNet")
"""The networks that are known to give one tensor of their window's size."""
_MODULE = "dynamic_network_architectures.architectures.unet"
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"
_NAMED = ("conv_op", "norm_op", "dropout_op", "nonlin", "block")  # options that name a class
_HINT = (
    "nnU-Net's networks need a package that is not installed: pip install 'gridgate[nnunet]', or, "
    "without its own dependencies, pip install --no-deps dynamic_network_architectures"
)


def nnunet_network(
    *,
    name: str = NNUNET,
    network: str,
    options: Mapping[str, Any],
    in_channels: int,
    out_channels: int,
) -> nn.Module:
    """A network as nnU-Net's plans describe it, with initial weights, without its side heads.

    Input is (B, in_channels, ...), output logits (B, out_channels, ...). `divisor` says of what
    windows are multiples; `by_trace`, that TorchScript of it is made by a trace: its code, which
    may give a list, cannot be compiled.

    Args:
        name: NNUNET, as the architecture has it.
        network: one of CLASSES.
        options: the plans' `arch_kwargs`; classes by their full names: of torch.nn, and the two
            blocks of the package's.

    Raises:
        ImportError: the package is not installed; the text says what to install.
        ValueError: another network, option or class.

    Example:
        >>> options = {"n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": [3, 3],
        ...     "conv_op": "torch.nn.modules.conv.Conv3d", "strides": [1, 2], "n_conv_per_stage": 1,
        ...     "n_conv_per_stage_decoder": 1}
        >>> made = nnunet_network(network="PlainConvUNet", options=options, in_channels=1,
        ...     out_channels=3)  # doctest: +SKIP
    """
    if network not in CLASSES:
        raise ValueError(f"nnU-Net's network {network!r}: there are {', '.join(CLASSES)}")
    try:
        module = import_module(_MODULE)
    except ImportError as error:
        raise ImportError(_HINT) from error
    given = {
        key: _class(value) if key in _NAMED and value is not None else value
        for key, value in options.items()
    }
    given["deep_supervision"] = False
    try:
        made: nn.Module = getattr(module, network)(
            input_channels=in_channels, num_classes=out_channels, **given
        )
    except (AssertionError, TypeError) as error:
        raise ValueError(f"nnU-Net's {network} refuses these options: {error}") from error
    _keep_channels_innermost(made)
    made.divisor = divisor(options["strides"])  # type: ignore[assignment]
    made.head_weights = (1.0,)  # type: ignore[assignment]
    made.by_trace = True  # type: ignore[assignment]
    return made


def _keep_channels_innermost(network: nn.Module) -> None:
    """Instance normalisation as in Gridgate's own networks, with the same weights.

    On a CPU (2 cores, AMX) a window of 80x128x128 through a network of 32 to 320 features takes
    4.1 s and not 5.0 s with it in float32, 0.9 to 1.4 s and not 1.9 s in bfloat16.
    """
    for module in network.modules():
        for theirs, ours in (
            (nn.InstanceNorm3d, InstanceNorm3d),
            (nn.InstanceNorm2d, InstanceNorm2d),
        ):
            if type(module) is theirs and not module.track_running_stats:
                module.__class__ = ours


def divisor(strides: Any) -> tuple[int, ...]:
    """Of what a window's sizes are multiples, of the strides of each stage.

    >>> divisor([[1, 1, 1], [1, 2, 2], [2, 2, 2]]), divisor([1, 2, 2])
    ((2, 4, 4), (4, 4, 4))
    """
    stages = [[stage] * 3 if isinstance(stage, int) else list(stage) for stage in strides]
    return tuple(prod(axis) for axis in zip(*stages, strict=True))


def _class(name: str) -> Any:
    """A class of torch.nn, or a block, by its full name: nothing else is imported by a name."""
    place, _, last = str(name).rpartition(".")
    if place == _BLOCKS and last in ("BasicBlockD", "BottleneckD"):
        return getattr(import_module(_BLOCKS), last)
    found = getattr(nn, last, None) if (place + ".").startswith("torch.nn.") else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"nnU-Net's networks: {name!r} is no class of torch.nn that is known")
    return found
