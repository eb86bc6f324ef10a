"""The settings of a workflow's config, in groups: what `--help` shows and completion offers.

What a setting means is said once, in the template of the bundles' configs: a comment "# -- group"
begins a group, and each key in it has a comment that explains it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...data.errors import ConfigError
from ..config.values import CODE
from ..plans.bundle_folders import bundle_path, bundles_folder

_INCLUDE = re.compile(r'<% include "(.+)" %>')
_IF = re.compile(r"<% if (.+) %>")
_OF_IMPORTED = ("nnunet", "parts")  # what the template asks, of bundles of imported models
_GROUP = re.compile(r"# -- (.+)")
_SETTING = re.compile(r"(\w+):(.*?)\s+# (.+)")


@dataclass(frozen=True)
class Setting:
    """One id of a config that a user may set.

    Args:
        name: the id.
        group: such as "speed and memory".
        meaning: one line.
        default: as text; "" where it is no plain value.
    """

    name: str
    group: str
    meaning: str
    default: str


def settings_of(config: str, bundle: str | Path | None = None) -> list[Setting]:
    """The settings of a workflow, in the order of their groups.

    Args:
        config: name of its file, such as inference.yaml.
        bundle: whose defaults are told; None: the template's, where a bundle's own number has the
            default "the bundle's".

    Raises:
        ConfigError: no such bundle, or its config cannot be read.

    Example:
        >>> {one.name: one.default for one in settings_of("train.yaml")}["folds"]
        '5'
    """
    template = bundles_folder() / "template"
    values = None if bundle is None else _values(bundle_path(bundle) / "configs" / config)
    found: list[Setting] = []
    group = ""
    has = {name for name in _OF_IMPORTED if values and values.get(name)}
    for line in _lines(template / "configs" / config, template, has):
        if (header := _GROUP.fullmatch(line)) is not None:
            group = header[1]
        elif not line:
            group = ""
        elif group and (match := _SETTING.fullmatch(line)) is not None:
            name, default, meaning = match[1], match[2].strip(), match[3]
            if values is None:
                default = "the bundle's" if default.startswith("<<") else _shown(default)
            elif name in values:
                default = _shown(_as_text(values[name]))
            else:  # a bundle that was made before the setting
                continue
            found.append(Setting(name, group, meaning, default))
    return found


def _lines(path: Path, template: Path, has: Collection[str]) -> Iterator[str]:
    """The template's lines; of what it asks of imported models those that hold with `has`."""
    open_: list[bool | None] = []  # of each open question whether its lines hold; None: they may
    for line in path.read_text(encoding="utf-8").splitlines():
        if (asked := _IF.fullmatch(line)) is not None:
            open_.append(asked[1] in has if asked[1] in _OF_IMPORTED else None)
        elif line == "<% else %>" and open_[-1] is not None:
            open_[-1] = not open_[-1]
        elif line == "<% endif %>":
            open_.pop()
        elif False in open_:
            continue
        elif (included := _INCLUDE.fullmatch(line)) is not None:
            yield from _lines(template / included[1], template, has)
        else:
            yield line


def _values(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: is no config")
    return content


def _as_text(value: Any) -> str:
    if isinstance(value, dict) and "_target_" in value:
        return ""
    if isinstance(value, str):
        return value
    return str(yaml.safe_dump(value, default_flow_style=True, width=1 << 16)).splitlines()[0]


def _shown(text: str) -> str:
    """A default as a user would type it; "" for an expression."""
    text = text.strip("\"'")
    return "" if text.startswith(CODE) else text
