"""Settings given on the command line, put over those of a plan that is being made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from ...data.errors import ConfigError
from ...networks import network_options
from .plan import Plan
from .planning import network_settings, new_plan_settings
from .training_numbers import check_training
from .windows import check_grid, check_kinds, refuse_words

_ELSEWHERE = {"network", "training", "dataset", "name"}  # said by the command's own words
_OF_PLANS = {one.name for one in fields(Plan)}
_OF_TRAININGS = {
    *("epochs", "iterations_per_epoch", "batch_size", "accumulation_steps", "learning_rate"),
    *("weight_decay", "warmup_iterations", "average_decay", "val_interval", "patience"),
    *("augmentation", "num_workers", "loss"),
}
"""What a bundle's train.yaml takes of a plan, whether or not the plan says it already."""

OF_NEW_BUNDLE = {
    "network::name": "the network is the command's first word",
    "network::spatial_dims": "give --spatial-dims {value}, which sets the window too",
}
OF_PLANNING = {
    "network::name": "give --network NAME to gridgate plan, --networks NAME ... to gridgate fit",
    "network::spatial_dims": "only 3D networks are planned; for one of 2D: gridgate new-bundle "
    "NETWORK DATASET --spatial-dims 2",
    "network::img_size": "it is the window; give --roi_size",
}
"""What says a setting of the network in the place of `--network::SETTING`, by the command."""


def with_settings(
    plan: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    said_by: Mapping[str, str] = OF_NEW_BUNDLE,
) -> dict[str, Any]:
    """A plan's settings with others over them.

    Args:
        settings: by id: {"roi_size": [64, 64, 64], "network::norm": "batch"}.
        said_by: OF_NEW_BUNDLE, or OF_PLANNING where data decide what is not given.

    Raises:
        ConfigError: no such setting; the text lists those there are.
    """
    result = {**plan, "network": dict(plan["network"]), "training": dict(plan["training"])}
    for name, value in settings.items():
        first, *rest = name.split("::")
        if first in ("network", "training") and len(rest) == 1:
            if name in said_by:
                raise ConfigError(f"--{name}: {said_by[name].format(value=value)}")
            _check_part(name, value, result["training"])
            result[first][rest[0]] = value
        elif rest or first in _ELSEWHERE or first not in _OF_PLANS | set(result):
            known = [*sorted(_OF_PLANS - _ELSEWHERE), "network::OPTION", "training::SETTING"]
            raise ConfigError(f"--{name}: no such setting of a plan; there are: {', '.join(known)}")
        else:
            result[first] = value
    return result


def check_settings(
    settings: Mapping[str, Any], networks: Sequence[str] = ("attention_unet",)
) -> None:
    """Refuse settings that no plan takes, before a dataset is measured for one.

    Args:
        settings: by id, see `with_settings`.
        networks: that are planned with them.

    Raises:
        ConfigError: no such network or setting; one of the networks has no such option; a value of
            another kind than is wanted, as a window of two numbers.
    """
    default = new_plan_settings("attention_unet", "btcv")
    any_plan = with_settings(default, settings, said_by=OF_PLANNING)
    check_kinds(any_plan)
    check_grid(any_plan["spacing"], any_plan["roi_size"])
    check_training(any_plan["training"])
    for network in networks:
        network_settings(network)  # that there is one
        _check_options(network, settings)


def _check_options(network: str, settings: Mapping[str, Any]) -> None:
    known = sorted(network_options(network))
    for name in settings:
        first, _, option = name.partition("::")
        if first == "network" and option not in known:
            near = get_close_matches(option, known, n=1, cutoff=0.4)
            hint = f" Did you mean --network::{near[0]}?" if near else ""
            raise ConfigError(
                f"--{name}: the network {network} has no such option.{hint} There are: "
                f"{', '.join(known)}"
            )


def _check_part(name: str, value: Any, training: Mapping[str, Any]) -> None:
    first, _, last = name.partition("::")
    refuse_words(value, of=f"--{name}")
    known = _OF_TRAININGS | set(training)
    if first == "training" and last not in known:
        raise ConfigError(f"--{name}: no such setting; there are: {', '.join(sorted(known))}")
