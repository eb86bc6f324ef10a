"""How windows lie, are blended and padded, and of what kind a plan's other values are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
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
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ConfigError(f"padding {given}: a number, replicate or null is there")
    return float(given)


def check_kinds(settings: Mapping[str, Any]) -> None:
    """Refuse values of a plan that are of another kind than what reads them.

    Args:
        settings: of a plan, by name; those that have checks of their own are left alone.

    Raises:
        ConfigError: a value is of a wrong kind; the text says what is wanted.

    >>> check_kinds({"mirror_axes": [0, 1], "overlap": 0.5, "channels": 1})
    """
    for name, (is_of_kind, wanted) in _KINDS.items():
        if name in settings and not is_of_kind(settings[name]):
            raise ConfigError(f"{name} {settings[name]!r}: {wanted} is wanted")


def refuse_words(value: Any, *, of: str) -> None:
    """Refuse yes, no, on and off, which are text here: as a switch each of them would be on.

    Args:
        value: of a network or a training: a value, or a mapping of them.
        of: its name, for the error's text.

    Raises:
        ConfigError: such a word is there.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            refuse_words(one, of=f"{of}::{key}")
    elif isinstance(value, str) and value.lower() in _WORDS:
        raise ConfigError(f"{of} {value}: write True or False")


def check_grid(spacing: Any, roi_size: Any) -> None:
    """Refuse what is no spacing (null: the scan's own), or no window.

    Raises:
        ConfigError: not three numbers above 0 each.
    """
    if spacing is not None and not _numbers(spacing, 3):
        raise ConfigError(f"spacing {spacing!r}: three numbers above 0 in mm are wanted")
    if not _numbers(roi_size, 3) or any(size != int(size) for size in roi_size):
        raise ConfigError(
            f"roi_size {roi_size!r}: three whole numbers are wanted, as '[64, 64, 64]', in 2D (X, "
            "Y, slices)"
        )


def _numbers(values: Any, count: int) -> bool:
    """Whether these are so many numbers above 0."""
    return _is_list(values) and len(values) == count and all(map(_is_above_0, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_above_0(value: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_overlap(value: Any) -> bool:
    return _is_share(value) or (_is_list(value) and len(value) == 3 and all(map(_is_share, value)))


def _are_axes(value: Any) -> bool:
    if not _is_list(value) or len(set(map(str, value))) < len(value):
        return False
    return all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 3 for one in value)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_switch_or_list(value: Any) -> bool:
    return isinstance(value, bool) or _is_list(value)


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_pairs(value: Any) -> bool:
    return value is None or (_is_list(value) and all(map(_is_list, value)))


def _is_mapping_or_null(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _are_of_names(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and _are_texts(list(value)))


def _are_texts(value: Any) -> bool:
    return _is_list(value) and all(isinstance(one, str) for one in value)


_WORDS = ("yes", "no", "on", "off")
_AXES = "a list of axes of 0, 1 and 2, each once, as '[0, 1]' or '[]',"
_BY_LABEL = "a mapping with names of labels, or null"
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "channels": (_is_count, "a whole number of 1 or more"),
    "overlap": (_is_overlap, "a number from 0 to below 1, or three of them, one per axis,"),
    "mirror_axes": (_are_axes, _AXES),
    "test_mirror_axes": (_are_axes, _AXES),
    "side_pairs": (_are_pairs, "pairs of labels' values, as '[[2, 3]]', or null"),
    "foreground": (_is_number_or_null, "a number, or null"),
    "body_threshold": (_is_number_or_null, "a number, or null"),
    "interpolate_probabilities": (_is_switch, "True or False"),
    "fast_resampling": (_is_switch, "True or False"),
    "keep_largest": (_is_switch_or_list, "True, False, or a list of labels' values"),
    "expected": (_are_of_names, _BY_LABEL),
    "measured": (_are_of_names, _BY_LABEL),
    "terminology": (_are_of_names, _BY_LABEL),
    "merge_labels": (_is_mapping_or_null, _BY_LABEL),
    "references": (_are_texts, "a list of texts"),
}
