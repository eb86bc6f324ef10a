"""How windows are blended, and what lies around a scan that is smaller than one."""

from __future__ import annotations

from typing import Any, Literal

from ...data.errors import ConfigError

BLENDS = ("gaussian", "constant")
Padding = float | Literal["replicate"] | None
"""Around a volume smaller than a window: a number, its border, or None, its lowest value."""


def check_blend(given: Any) -> None:
    """Refuse weights of windows that are not there.

    Args:
        given: text, or MONAI's BlendMode.

    Raises:
        ConfigError: it is not one of BLENDS.
    """
    if str(getattr(given, "value", given)) not in BLENDS:
        raise ConfigError(f"blend {given}: it is one of {', '.join(BLENDS)}")


def checked_padding(given: Any) -> Padding:
    """A padding as it is run.

    Raises:
        ConfigError: no number, "replicate" or None.

    >>> checked_padding(0), checked_padding("replicate")
    (0.0, 'replicate')
    """
    if given is None or given == "replicate":
        return given
    if isinstance(given, str | bool):
        raise ConfigError(f"padding {given}: a number, replicate or null is there")
    return float(given)
