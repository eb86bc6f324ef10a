"""Packages that are there only where an extra was installed."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ConfigError


def module_of_extra(name: str, extra: str, *, wanted_by: str) -> Any:
    """A module, imported when it is needed.

    Args:
        extra: of Gridgate, that brings it.
        wanted_by: what the user asked for.

    Raises:
        ConfigError: it is not installed.

    Example:
        >>> module_of_extra("json", "none", wanted_by="this example").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{wanted_by} needs {name}, which is not installed: pip install 'gridgate[{extra}]'"
        ) from error
