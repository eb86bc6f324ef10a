"""The numbers of a training, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import ConfigError

_COUNTS = {"epochs": 1, "iterations_per_epoch": 1, "batch_size": 1, "val_interval": 1}
_COUNTS |= {"accumulation_steps": 1}
_COUNTS |= {"num_workers": 0, "warmup_iterations": 0, "patience": 0}
_MAY_BE_NULL = {"num_workers"}
_REALS = ("learning_rate", "weight_decay", "average_decay")


def check_training(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that would end in an error deep in a library.

    Settings that are not numbers of a training are left alone.

    Raises:
        ConfigError: a count that is no whole number, or too small; a rate that is no number of 0 or
            more.
    """
    for name, least in _COUNTS.items():
        value = settings.get(name, least)
        if name in _MAY_BE_NULL and value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"--{name} {value}: a whole number of {least} or more is wanted")
    for name in _REALS:
        value = settings.get(name, 0)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not 0 <= value < float("inf")
        ):
            raise ConfigError(f"--{name} {value}: a number of 0 or more is wanted")
    decay = settings.get("average_decay", 0)
    if decay >= 1:
        raise ConfigError(
            f"--average_decay {decay}: a number of 0 (no averaging) to below 1 is wanted; of 1 the "
            "average would stay what the network was at first"
        )
