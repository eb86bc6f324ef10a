"""A file of the labels that several models have together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ....data.errors import ConfigError


def read_label_names(path: str | Path) -> dict[str, int]:
    """The labels of a JSON file, {name: value} or {value: name}; the background may be there.

    Raises:
        ConfigError: it cannot be read, or is no such mapping.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error})") from error
    wrong = ConfigError(f"{path}: a mapping of names and whole numbers is wanted, each once")
    if not isinstance(found, dict) or not found:
        raise wrong
    try:
        if all(isinstance(value, str) for value in found.values()):
            found = {name: int(value) for value, name in found.items()}
        names = {str(name): int(value) for name, value in found.items()}
    except (TypeError, ValueError) as error:
        raise wrong from error
    names.pop("background", None)
    if len(set(names.values())) < len(names) or min(names.values(), default=0) < 1:
        raise wrong
    return names


def whole_labels(names: Mapping[str, int]) -> list[str]:
    """The names in the order of their values, the background first.

    Raises:
        ConfigError: the values are not 1, 2, ... without gaps.

    >>> whole_labels({"liver": 2, "spleen": 1})
    ['background', 'spleen', 'liver']
    """
    listed = sorted(names, key=names.__getitem__)
    if [names[name] for name in listed] != list(range(1, len(listed) + 1)):
        raise ConfigError(
            f"--labels: values 1 to {len(listed)} without gaps are wanted, got "
            f"{sorted(names.values())}"
        )
    return ["background", *listed]
