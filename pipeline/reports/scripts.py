"""The scripts of a page, and the policy that lets a browser run them and no others."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"


def _script(*names: str) -> str:
    return "\n" + "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


VIEWING = _script("alive.js", "view.js")
"""Of buttons to the viewer."""
SORTING = _script("table.js")
"""Of tables that sort."""


def allowed() -> str:
    """The scripts by their hashes, as a Content-Security-Policy's script-src names them."""
    found = []
    for script in (VIEWING, SORTING):
        digest = hashlib.sha256(script.encode("utf-8")).digest()
        found.append(f"'sha256-{base64.b64encode(digest).decode('ascii')}'")
    return " ".join(found)
