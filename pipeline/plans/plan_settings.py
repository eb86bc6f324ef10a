"""Settings given on the command line, put over those of a plan that is being made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ...data.errors import ConfigError
from .plan import Plan, check_grid
from .planning import new_plan_settings
from .training_numbers import check_training

_ELSEWHERE = {"network", "training", "dataset", "name"}  # said by the command's own words
_OF_PLANS = {one.name for one in fields(Plan)}
_OF_TRAININGS = {
    *("epochs", "iterations_per_epoch", "batch_size", "accumulation_steps", "learning_rate"),
    *("weight_decay", "warmup_iterations", "average_decay", "val_interval", "patience"),
    *("augmentation", "num_workers", "loss"),
}
"""What a bundle's train.yaml takes of a plan, whether or not the plan says it already."""


def with_settings(plan: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's settings with others over them.

    Args:
        settings: by id: {"roi_size": [64, 64, 64], "network::norm": "batch"}.

    Raises:
        ConfigError: no such setting; the text lists those there are.
    """
    result = {**plan, "network": dict(plan["network"]), "training": dict(plan["training"])}
    for name, value in settings.items():
        first, *rest = name.split("::")
        if first in ("network", "training") and len(rest) == 1:
            _check_part(name, value, result["training"])
            result[first][rest[0]] = value
        elif rest or first in _ELSEWHERE or first not in _OF_PLANS | set(result):
            known = [*sorted(_OF_PLANS - _ELSEWHERE), "network::OPTION", "training::SETTING"]
            raise ConfigError(f"--{name}: no such setting of a plan; there are: {', '.join(known)}")
        else:
            result[first] = value
    return result


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that no plan takes, before a dataset is measured for one.

    Args:
        settings: by id, see `with_settings`.

    Raises:
        ConfigError: no such setting; a spacing, a window or a number of a training that is none.
    """
    any_plan = with_settings(new_plan_settings("attention_unet", "btcv"), settings)
    check_grid(any_plan["spacing"], any_plan["roi_size"])
    check_training(any_plan["training"])


def _check_part(name: str, value: Any, training: Mapping[str, Any]) -> None:
    first, _, last = name.partition("::")
    if name == "network::name":
        raise ConfigError(f"--{name}: the network is the command's first word")
    if name == "network::spatial_dims":
        raise ConfigError(f"--{name}: give --spatial-dims {value}, which sets the window too")
    known = _OF_TRAININGS | set(training)
    if first == "training" and last not in known:
        raise ConfigError(f"--{name}: no such setting; there are: {', '.join(sorted(known))}")
