"""The network of a bundle of the model zoo."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from enum import Enum
from typing import Any

from monai.networks import nets

from .....data.errors import ConfigError
from .....networks import NETWORKS
from .....networks.registry import network_options
from .folder import ZooBundle
from .preprocessing import target

_CHANNELS = ("in_channels", "out_channels")
_GONE = ("img_size",)  # arguments that MONAI's classes had before


def is_known(bundle: ZooBundle) -> bool:
    """Whether the network is one of MONAI's that are known here."""
    name = target(bundle.values.config.get("network_def"), bundle.values)
    return name in _of_monai()


def _of_monai() -> list[str]:
    """The networks that are MONAI's classes; `unet` is a module there."""
    return [name for name in NETWORKS if inspect.isclass(getattr(nets, name, None))]


def network_of(bundle: ZooBundle) -> tuple[dict[str, Any], int, int]:
    """The architecture of a bundle's network, and its input and output channels.

    Raises:
        ConfigError: a network that is not one of MONAI's that are known here; the text names it.
    """
    values = bundle.values
    found = values.config.get("network_def")
    name = target(found, values)
    assert isinstance(found, Mapping)
    if not is_known(bundle):
        known = ", ".join(_of_monai())
        raise ConfigError(
            f"{values.of}: the network {name} is not one of {known}; where the bundle has its "
            "TorchScript, models/model.ts, that is imported in its place"
        )
    given = {
        key: values.value(value) for key, value in found.items() if not str(key).startswith("_")
    }
    arguments = inspect.signature(getattr(nets, name)).parameters
    # what is left out has MONAI's defaults, where those of Gridgate's networks are others
    known_options = {*network_options(name), *_CHANNELS, "spatial_dims"}
    given = {
        key: argument.default
        for key, argument in arguments.items()
        if argument.default is not inspect.Parameter.empty
        and _is_plain(argument.default)
        and key in known_options
    } | given
    options = {
        key: value
        for key, value in given.items()
        if key not in (*_CHANNELS, "spatial_dims") and (key in arguments or key not in _GONE)
    }
    if given.get("spatial_dims", 3) != 3:
        raise ConfigError(f"{values.of}: its network is not 3D")
    try:
        channels = [int(given[key]) for key in _CHANNELS]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{values.of}: network_def lacks in_channels or out_channels") from error
    architecture = {key: _listed(value) for key, value in options.items()}
    return {"name": name, **architecture}, channels[0], channels[1]


def _is_plain(value: Any) -> bool:
    """Whether a config can hold a default; what it cannot is a type, which nobody changes here."""
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return isinstance(value, str | int | float | bool | type(None))


def _listed(value: Any) -> Any:
    """As a config has it: lists, and an enumeration's values."""
    if isinstance(value, list | tuple):
        return [_listed(one) for one in value]
    return value.value if isinstance(value, Enum) else value
