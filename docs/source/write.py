"""Writes what is generated of the documents: the configs' pages, tables of networks and losses.

    python docs/source/write.py

A test holds the committed pages to what this writes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import config_pages  # noqa: E402
import loss_tables  # noqa: E402
import network_tables  # noqa: E402

DOCS = HERE.parent
BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "networks.md": {
        "costs": network_tables.costs_table,
        "published": network_tables.published_table,
        "papers": network_tables.papers_table,
    },
    "losses.md": {family: loss_tables.family_table(family) for family in loss_tables.FAMILIES},
}
"""Page -> name of a block -> what writes it."""


def with_block(text: str, name: str, content: str) -> str:
    """The text with other content between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: the text has no such block.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no block {start} ... {end}")
    return pattern.sub(lambda _: f"{start}\n\n{content}\n{end}", text)


def main() -> None:
    """Write all."""
    for config in config_pages.PAGES:
        (DOCS / "configs" / f"{config}.md").write_text(config_pages.page(config), encoding="utf-8")
    for page, blocks in BLOCKS.items():
        text = (DOCS / page).read_text(encoding="utf-8")
        for name, content in blocks.items():
            text = with_block(text, name, content())
        (DOCS / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
