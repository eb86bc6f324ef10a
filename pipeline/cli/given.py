"""Lists and mappings written on the command line, as YAML."""

from __future__ import annotations

from typing import Any


def label_names(text: str | None) -> dict[str, int] | None:
    """--label_names: a mapping, or a list whose values are 1, 2, ...

    Raises:
        ConfigError: it is neither.
    """
    from ...data.errors import ConfigError

    if text is None:
        return None
    value = _read(text)
    if isinstance(value, list):
        return {str(name): number for number, name in enumerate(value, start=1)}
    if not isinstance(value, dict):
        raise ConfigError(f"--label_names {text}: write it as '{{liver: 1, spleen: 2}}'")
    return {str(name): number for name, number in value.items()}


def annotated_labels(text: str | None) -> dict[str, list[str]]:
    """--annotated: case or pattern -> labels.

    Raises:
        ConfigError: it is something else.
    """
    from ...data.errors import ConfigError

    value = {} if text is None else _read(text)
    if not isinstance(value, dict) or not all(
        isinstance(one, str | list) for one in value.values()
    ):
        raise ConfigError(f"--annotated {text}: write it as '{{\"btcv_*\": [liver]}}'")
    return {
        str(key): [str(name) for name in ([given] if isinstance(given, str) else given)]
        for key, given in value.items()
    }


def mapping(option: str, text: str | None) -> dict[str, str] | None:
    """A mapping of patterns.

    Args:
        option: its name, for the error.

    Raises:
        ConfigError: it is something else, or empty.
    """
    from ...data.errors import ConfigError

    if text is None:
        return None
    value = _read(text)
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"--{option} {text}: write it as '{{liver: \"*/liver.nii.gz\"}}'")
    return {str(key): str(pattern) for key, pattern in value.items()}


def names(text: str | None) -> list[str] | None:
    """Names: a list, or one alone."""
    if text is None:
        return None
    value = _read(text)
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def _read(text: str) -> Any:
    """A value of the command line, read as YAML."""
    from ..config.values import read_value

    return read_value(text)
