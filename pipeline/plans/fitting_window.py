"""A window that a plan's network takes as it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from ...data.errors import ConfigError
from ...networks import build_for_volumes


def fitting_window(plan: Mapping[str, Any]) -> list[int]:
    """The plan's window, or the next larger one of the network's multiples.

    The network is built without memory, and run once as in training.

    Args:
        plan: complete settings of a plan.

    Returns:
        Three numbers of voxels.

    Raises:
        ConfigError: the window is no window, or the network refuses it or an option.
    """
    roi_size = plan["roi_size"]
    if not isinstance(roi_size, list) or len(roi_size) != 3 or not all(map(_is_count, roi_size)):
        raise ConfigError(
            f"roi_size {roi_size!r}: three whole numbers are wanted, as '[64, 64, 64]', in 2D (X, "
            "Y, slices)"
        )
    options = {key: value for key, value in plan["network"].items() if key != "name"}
    network = _built(plan, {key: value for key, value in options.items() if key != "img_size"})
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]  # a tensor, to mypy
    fitting = [-(-size // step) * step for size, step in zip(roi_size, divisor, strict=True)]
    if "img_size" in options:
        axes = options.get("spatial_dims", 3)
        if options["img_size"] == roi_size[:axes]:
            options["img_size"] = fitting[:axes]
        network = _built(plan, options)
    _try(network, plan["training"]["batch_size"], fitting)
    return fitting


def _try(network: torch.nn.Module, batch_size: int, window: list[int]) -> None:
    # NotImplementedError: an operation that the meta device does not know; the window is taken
    try:
        with suppress(NotImplementedError):
            network.train()(torch.empty(batch_size, 1, *window, device="meta"))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"windows of {window}, {batch_size} at once: {error}") from error


def _is_count(size: Any) -> bool:
    return isinstance(size, int) and size >= 1


def _built(plan: Mapping[str, Any], options: Mapping[str, Any]) -> torch.nn.Module:
    try:
        with torch.device("meta"):
            return build_for_volumes(
                plan["network"]["name"], in_channels=1, out_channels=len(plan["labels"]), **options
            )
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"network {plan['network']}: {error}") from error
