"""The pages that explain the configs line by line, from the comments in the configs themselves.

A line's words are, in this order, its own comment in the bundle's template, its entry in
explained.yaml, or the first line of the docstring of what its `_target_` names. A line that has
none of these is an error, so that no id stays unexplained.
"""

from __future__ import annotations

import inspect
import json
import pydoc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TEMPLATE = REPOSITORY / "bundles" / "template"
EXAMPLE = REPOSITORY / "bundles" / "phantom_attention_unet" / "configs"
PAGES = {"train": "Training", "evaluate": "Evaluation", "inference": "Inference"}
"""Name of a config file, without its ending -> title of its page."""

_LINE = re.compile(r"(?P<indent> *)(?:- )?(?P<key>[\w+]+):[^#\n]*?\s*(?:#\s*(?P<words>.*))?")
_LONGEST_VALUE = 60
_STEPS = ("initialize", "finalize", "inferring", "evaluating", "training", "run", "imports")


@dataclass(frozen=True)
class Line:
    """An id of a config.

    Args:
        id: in MONAI's spelling, `train::optimizer::lr`.
        value: as text; "" of what is made of other lines.
        target: what its `_target_` names, or "".
        words: what it is.
    """

    id: str
    value: str
    target: str
    words: str


def page(config: str) -> str:
    """The Markdown page of a config file.

    Args:
        config: a key of PAGES.

    Raises:
        ValueError: an id without an explanation.
    """
    lines = list(config_lines(config))
    mute = [line.id for line in lines if not line.words]
    if mute:
        raise ValueError(
            f"{config}.yaml: {', '.join(mute)}: say what it is, in a comment behind it in "
            "bundles/template or in docs/source/explained.yaml"
        )
    values = [line for line in lines if _is_setting(line)]
    made = [line for line in lines if line.target and not _is_setting(line)]
    steps = [line for line in lines if line.id in _STEPS and not line.target]
    parts = [
        f"# {PAGES[config]}: `{config}.yaml`\n",
        "<!-- Written by docs/source/write.py; edit the comments in bundles/template. -->\n",
        _head(config) + "\n",
        "## Settings\n\nThe values are those of the bundle `phantom_attention_unet`. Those that "
        "data and network decide differ in each bundle; *plan* marks them.\n",
        _tables(values, config),
        "\n## What is made of them\n\nEach line names a class or function; its arguments are set "
        "on the command line by `--ID::ARGUMENT VALUE`.\n",
        _made_table(made),
        "\n## Steps\n\nExpressions, evaluated in the order in which MONAI asks for them: "
        "`initialize`, then the workflow, then `finalize` where there is one.\n",
        _table(steps, config),
    ]
    return "\n".join(parts).rstrip() + "\n"


def config_lines(config: str) -> Iterator[Line]:
    """The ids of a config file in their order, those inside groups and components too."""
    content = yaml.safe_load((EXAMPLE / f"{config}.yaml").read_text(encoding="utf-8"))
    comments = template_comments(config)
    more = yaml.safe_load((HERE / "explained.yaml").read_text(encoding="utf-8"))
    for id_, value in _walk(content, ""):
        target = value.get("_target_", "") if isinstance(value, Mapping) else ""
        words = comments.get(id_) or more.get(f"{config}::{id_}") or more.get(id_)
        yield Line(
            id_, "auto" if id_ == "device" else _shown(value), target, words or _first_line(target)
        )


def template_comments(config: str) -> dict[str, str]:
    """Id -> the comment behind its line in the template's file, parts included."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for text in _template(config).splitlines():
        match = _LINE.fullmatch(text)
        if match is None:
            continue
        indent = len(match["indent"])
        above = [(depth, key) for depth, key in above if depth < indent]
        above.append((indent, match["key"]))
        if match["words"]:
            found["::".join(key for _, key in above)] = match["words"].strip()
    return found


def template_groups(config: str) -> dict[str, str]:
    """Id -> its group: a comment `# -- group` begins one, an empty line ends it."""
    found: dict[str, str] = {}
    group = ""
    for line in _template(config).splitlines():
        if line.startswith("# -- "):
            group = line.removeprefix("# -- ").strip()
        elif not line:
            group = ""
        elif group and (match := re.match(r"(\w+):", line)):
            found[match[1]] = group
    return found


def plan_ids(config: str) -> set[str]:
    """Ids whose values the plan gives."""
    return set(re.findall(r"^(\w+): <<", _template(config), re.MULTILINE))


def _is_setting(line: Line) -> bool:
    """Whether a user gives it a value of its own; a device is made, but is given as a word."""
    return line.id == "device" or (not line.target and line.id not in _STEPS)


def _template(config: str) -> str:
    def part(match: re.Match[str]) -> str:
        return (TEMPLATE / match[1]).read_text(encoding="utf-8")

    text = (TEMPLATE / "configs" / f"{config}.yaml").read_text(encoding="utf-8")
    for _ in range(3):  # parts include parts
        text = re.sub(r'<% include "([^"]+)" %>', part, text)
    return text


def _walk(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        id_ = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and id_ not in _DATA:
            if "_target_" in value:
                yield id_, value
            inside = {
                name: one
                for name, one in value.items()
                if isinstance(one, Mapping) or "_target_" not in value
            }
            yield from _walk(inside, f"{id_}::")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value):
                if isinstance(one, Mapping):
                    yield f"{id_}::{number}", one
        else:
            yield id_, value


# mappings that are values, whatever stands in them
_DATA = (
    "architecture",
    "augmentation",
    "expected",
    "intensity",
    "measured",
    "merge_labels",
    "plan::training",
    "terminology",
)


def _head(config: str) -> str:
    lines = []
    for line in (EXAMPLE / f"{config}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


def _first_line(target: str) -> str:
    located = pydoc.locate(target) if "." in target else None
    if not callable(located):
        return ""
    return (inspect.getdoc(located) or "").partition("\n")[0]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "_target_" in value:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _tables(lines: list[Line], config: str) -> str:
    """A table for each group of settings, those without one first."""
    groups = template_groups(config)
    of_group: dict[str, list[Line]] = {"": []}
    for line in lines:
        of_group.setdefault(groups.get(line.id, ""), []).append(line)
    parts = []
    for group, inside in of_group.items():
        title = f"### {group[:1].upper()}{group[1:].partition(':')[0]}\n\n" if group else ""
        parts.append(title + _table(inside, config))
    return "\n".join(parts).rstrip() + "\n"


def _table(lines: list[Line], config: str) -> str:
    of_plan = plan_ids(config)
    rows = ["| setting | value | what it is |", "|---|---|---|"]
    for line in lines:
        mark = " *plan*" if line.id.split("::")[0] in of_plan else ""
        rows.append(f"| `{line.id}` | {_code(line.value)}{mark} | {_cell(line.words)} |")
    return "\n".join(rows) + "\n"


def _made_table(lines: list[Line]) -> str:
    rows = ["| id | made by | what it is |", "|---|---|---|"]
    rows += [f"| `{line.id}` | `{line.target}` | {_cell(line.words)} |" for line in lines]
    return "\n".join(rows) + "\n"


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;")
