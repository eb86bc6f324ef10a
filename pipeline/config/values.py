"""Values of overrides: from a command line's words to what a config's parser takes.

Words follow YAML 1.2: no dates, no times, no octal 010, `yes` and `no` are text. Paths are data:
they are taken as they are written and reach the config as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from ...data.errors import ConfigError

SEP = "::"  # MONAI's separator of the parts of an id
CODE = ("$", "@", "%")  # text that begins with one of these is an expression, reference or macro
MISSING: Any = object()
"""The default of an id that stands in no config file: a parameter of what a component makes."""

_PATHS = frozenset(
    {
        "bundle_root",
        "cache_dir",
        "checkpoint",
        "dataset_dir",
        "input_dir",
        "logging_file",
        "meta_file",
        "output_dir",
        "pretrained",
        "pretrained_encoders",
        "region",
        "splits",
    }
)
# May be null whatever stands in the bundle's files; null is one of the values it is made for.
_NULLABLE = frozenset(
    {
        "body_threshold",
        "cache_dir",
        "checkpoint",
        "coarse",
        "expected",
        "foreground",
        "isolate",
        "merge_labels",
        "modality",
        "output_channels",
        "padding",
        "pretrained",
        "pretrained_encoders",
        "ray",
        "ray_cores",
        "region",
        "region_values",
        "shard",
        "side_pairs",
        "smallest_piece",
        "spacing",
        "splits",
        "sw_batch_size",
        "terminology",
        "thresholds",
        "time_limit",
        "validation_cases",
    }
)
_NULLS = ("null", "None", "~")
_SWITCHES = ("true", "false", "yes", "no", "on", "off")


class _Yaml12(yaml.SafeLoader):
    """YAML 1.2's core schema, but `007`, a number with a needless 0, is text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own declaration

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice")
        return super().construct_mapping(node, deep)


class _Texts(_Yaml12):
    """The same grammar; every scalar stays the text that it is."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_INTEGER = r"[-+]?(?:0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"{_INTEGER}|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        rf"(?:{_INTEGER}(?:\.[0-9]*)?|[-+]?\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Yaml12.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _first
    )


def read_value(text: str) -> Any:
    """A word of a command line by the rules of YAML 1.2; what is no other value is text.

    Example:
        >>> [read_value(word) for word in ("1e-3", "[2, 2, 3]", "007", "2024-01-02", "no")]
        [0.001, [2, 2, 3], '007', '2024-01-02', 'no']

    Raises:
        ConfigError: brackets, braces or quotes that do not match; a key that is there twice.
    """
    try:
        value = yaml.load(text, _Yaml12)
    except (yaml.YAMLError, ValueError) as error:
        if not text.lstrip().startswith(("[", "{", '"', "'")):
            return text
        reason = " ".join(str(error).split())
        raise ConfigError(f"{text}: cannot be read as YAML ({reason})") from error
    if value is None:
        return None if text.strip() in (*_NULLS, "Null", "NULL") else text
    # a comment, which YAML drops, is text here
    return text if isinstance(value, str) and text[:1] not in ("'", '"') else value


def read_yaml(text: str) -> Any:
    """The content of a user's YAML file by the rules of YAML 1.2: 1e-5 is a number, `no` is text.

    Raises:
        yaml.YAMLError: it is no YAML; a key that is there twice.
    """
    return yaml.load(text, _Yaml12)


def override_value(id_: str, text: str, default: Any = MISSING) -> Any:
    """The value that a word of the command line means for an id.

    Args:
        id_: in MONAI's spelling, `train::optimizer::lr`.
        text: `null`, `None` and `~` are None where the id may be null.
        default: what stands in the bundle's config; where that is text, numbers stay text.

    Raises:
        ConfigError: it is empty, or cannot be read.
    """
    if not text:
        raise ConfigError(f"--{id_} lacks its value")
    if text in _NULLS and _text_is_null(id_, default):
        return None
    try:
        if is_path(id_):
            return _path_value(id_, text)
        if text.startswith(CODE):
            return text
        value = read_value(text)
    except ConfigError as error:
        raise ConfigError(f"--{id_} {error}") from error
    if is_text(default) and (value is None or type(value) in (int, float)):
        return text
    return value


def is_path(id_: str) -> bool:
    """Whether the id's values are paths: data, of which nothing is parsed."""
    return not _PATHS.isdisjoint(id_.split(SEP))


def is_text(value: Any) -> bool:
    """Whether it is text, and no expression, reference or macro."""
    return isinstance(value, str) and not value.startswith(CODE)


def _path_value(id_: str, text: str) -> Any:
    """A path; a list of checkpoints; a dict of encoders; a region as a box of numbers."""
    last = id_.split(SEP)[-1]
    brackets = {"checkpoint": "[]", "pretrained_encoders": "{}", "region": "[]"}.get(last)
    if brackets is None or (text[0], text[-1]) != tuple(brackets) or Path(text).exists():
        return text
    try:
        return yaml.load(text, _Yaml12 if last == "region" else _Texts)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{text}: cannot be read as YAML ({reason})") from error


def as_data(id_: str, value: Any) -> Any:
    """The value in a spelling that MONAI's parser gives back unchanged.

    The parser makes `::` of each `#` in a text, and runs what begins with `$`, `@` or `%`. Such a
    text becomes an expression that holds the text alone. Only other ids than those of paths may
    be given expressions, references and macros; they stay what they are.
    """
    if isinstance(value, Mapping):
        return {key: as_data(f"{id_}{SEP}{key}", inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(id_, inside) for inside in value]
    if isinstance(value, PurePath):
        return quoted(str(value))
    if isinstance(value, str) and (is_path(id_) or not value.startswith(CODE)):
        return quoted(value)
    return value


def quoted(text: str) -> str:
    r"""An expression that evaluates to this text, where the parser would change it; else the text.

    Example:
        >>> quoted("scans"), quoted("scans#1")
        ('scans', "$'scans\\U000000231'")
    """
    if not any(character in text for character in "#$@%"):
        return text
    escaped = "".join(
        one if one.isascii() and (one.isalnum() or one in "/._- ") else f"\\U{ord(one):08x}"
        for one in text
    )
    return f"$'{escaped}'"


def unquoted(text: str) -> str:
    """The text that `quoted` was given."""
    if not (text.startswith("$'") and text.endswith("'")):
        return text
    try:
        value = ast.literal_eval(text[1:])
    except (SyntaxError, ValueError):
        return text
    return value if isinstance(value, str) else text


def settle(given: dict[str, Any], known: Mapping[str, Any], prefix: str = "") -> None:
    """Make None of words that mean it, and refuse values that no id of their kind takes.

    `python -m monai.bundle run` hands `null` and `false` on as text; both would count as true.

    Args:
        given: a config with its overrides; changed in place.
        known: the same config as it stands in its files.

    Raises:
        ConfigError: a word for a switch, null for a number or a switch.
    """
    for key, value in given.items():
        default = known.get(key, MISSING)
        id_ = f"{prefix}{key}"
        if isinstance(value, dict):
            settle(value, default if isinstance(default, dict) else {}, id_ + SEP)
        elif isinstance(value, str) and value in _NULLS and _text_is_null(id_, default):
            given[key] = value = None
        _refuse(id_, value, default)


def _text_is_null(id_: str, default: Any) -> bool:
    """Whether null is None for the id; a folder to write to may be called null."""
    return id_.split(SEP)[-1] in _NULLABLE or not (is_path(id_) or is_text(default))


def _refuse(id_: str, value: Any, default: Any) -> None:
    code = isinstance(value, str) and value.startswith(CODE)
    if isinstance(default, bool):
        wrong = not isinstance(value, bool | list | dict) and not code
    else:
        word = isinstance(value, str) and value.lower() in _SWITCHES
        wrong = (
            word
            and not is_text(default)
            and (default is not MISSING or value.lower() in _SWITCHES[:2])
        )
    if wrong:
        raise ConfigError(f"--{id_} {'null' if value is None else value}: write True or False")
    if value is not None or id_.split(SEP)[-1] in _NULLABLE:
        return
    if isinstance(default, int | float) and not isinstance(default, bool):
        raise ConfigError(f"--{id_} null: a number is needed here, such as {default}")
    if isinstance(default, list):
        raise ConfigError(f"--{id_} null: a list is needed here")
    if id_ == "device":
        raise ConfigError("--device null: a device is needed here")
