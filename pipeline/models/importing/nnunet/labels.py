"""The labels of nnU-Net's dataset.json: names by channel, regions and the values they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .....data.errors import ConfigError

_IGNORE = "ignore"


@dataclass(frozen=True)
class NnunetLabels:
    """What a model's channels are.

    Args:
        names: the background first.
        region_values: of regions, which overlap, the value that each is written as; None: labels
            exclude each other.
    """

    names: list[str]
    region_values: list[int] | None = None


def nnunet_labels(dataset: Mapping[str, Any], *, of: Path) -> NnunetLabels:
    """The labels that a dataset.json says.

    Args:
        dataset: its content.
        of: the file, for the error's text.

    Raises:
        ConfigError: no labels with a background of 0, values with gaps, or regions without an
            order.

    Example:
        >>> nnunet_labels({"labels": {"background": 0, "whole": [1, 2], "core": 2},
        ...     "regions_class_order": [1, 2]}, of=Path("dataset.json"))
        NnunetLabels(names=['background', 'whole', 'core'], region_values=[1, 2])
    """
    found = dataset.get("labels")
    if not isinstance(found, dict) or _value(found.get("background")) != 0:
        raise ConfigError(
            f"{of}: labels by name with a background of 0 are wanted, as of nnU-Net v2; got {found}"
        )
    labels = {str(name): value for name, value in found.items() if name != _IGNORE}
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        return _regions(labels, dataset.get("regions_class_order"), of)
    values = {name: _value(value) for name, value in labels.items()}
    names = sorted(values, key=lambda name: values[name] or 0)
    if [values[name] for name in names] != list(range(len(names))):
        raise ConfigError(
            f"{of}: labels 0, 1, 2, ... without gaps are wanted, as nnU-Net asks for; got {labels}"
        )
    return NnunetLabels(names)


def _regions(labels: Mapping[str, Any], order: Any, of: Path) -> NnunetLabels:
    names = [name for name, value in labels.items() if value not in (0, [0])]
    sound = isinstance(order, list) and len(order) == len(names)
    if not sound or not all(isinstance(one, int) for one in order):
        raise ConfigError(
            f"{of}: regions_class_order {order!r}: a value for each of {', '.join(names)} is wanted"
        )
    return NnunetLabels(["background", *names], [int(one) for one in order])


def _value(value: Any) -> int | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return int(value) if isinstance(value, int | float) else None
