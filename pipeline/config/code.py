"""Text and mappings that a bundle's config would run, refused in what stands in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import ConfigError
from .values import CODE, SEP


def refuse_code(value: Any, *, of: str) -> None:
    """Refuse what MONAI's parser would evaluate, follow or make an object of, anywhere in a value.

    Labels come from files of others (dataset.json, a bundle's metadata, plans.json), and stand in
    configs that are run.

    Args:
        value: of a plan: plain values, lists and mappings.
        of: its name, for the error's text.

    Raises:
        ConfigError: text that begins with $, @ or %, or has # or :: in it, which the parser takes
            for its own; a mapping with a key that begins with an underscore, such as _target_.

    Example:
        >>> refuse_code({"mode": "window", "low": -175}, of="intensity")
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            if str(key).startswith("_"):
                raise ConfigError(f"{of}: {key!r} is a key that a config would make an object of")
            refuse_code(str(key), of=of)
            refuse_code(one, of=of)
    elif isinstance(value, list | tuple):
        for one in value:
            refuse_code(one, of=of)
    elif isinstance(value, str) and (value.startswith(CODE) or "#" in value or SEP in value):
        raise ConfigError(
            f"{of}: {value!r} would be taken for code or a reference by the bundle's configs; give "
            f"another name, that does not begin with {', '.join(CODE)} and has no # or {SEP} in it"
        )
