"""For mkdocstrings: the house's docstrings as its parser knows them.

"Example:" becomes "Examples:", and keys in text, such as data["id"], are code, not a link.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_KEYS = re.compile(r"(?<![`\w])(\w+(?:\[[\"'][^\]\n]*[\"']\])+)(?!`)")


class HouseStyle(griffe.Extension):
    """Changes docstrings as they are loaded; the files stay as they are."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of whatever was loaded."""
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = mended(obj.docstring.value)


def mended(text: str) -> str:
    """A docstring in the form that griffe parses; lines of an example stay as they are."""
    lines = []
    in_example = False
    for line in text.splitlines():
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if line.strip() == "Example:":
            line = line.replace("Example:", "Examples:")
        elif not in_example and "`" not in line:
            line = _KEYS.sub(r"`\1`", line)
        lines.append(line)
    return "\n".join(lines)
