"""The documents as the tests read them: links, headings, code, without any tool of Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY)
    for path in REPOSITORY.rglob("*.md")
    if not any(
        part[0] == "." or part in ("site", "demo") for part in path.relative_to(REPOSITORY).parts
    )
)
"""Every page of the repository, relative to it."""
USER_PAGES = [
    path
    for path in DOCUMENTS
    if path.parts[0] == "docs"
    or path.as_posix()
    in ("README.md", "CONTRIBUTING.md", "bundles/phantom_attention_unet/docs/README.md")
]
"""What users read; all bundles' pages are made by one template."""

_FENCE = re.compile(
    r"^(?P<mark>```+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=mark)\s*$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    code: str


def text_of(document: Path) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(match["language"], match["code"]) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The text without its blocks of code and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", text), flags=re.DOTALL)


def inline_code(text: str) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]


def links(text: str) -> list[str]:
    """Targets of links and pictures, but for those in code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text)))


def anchors(document: Path) -> set[str]:
    """What a link may name behind # in a page: as mkdocs has it in docs/, as GitHub elsewhere."""
    found = set()
    for title in re.findall(r"^#{1,6} +(.+?)\s*$", prose(text_of(document)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        if document.parts[0] == "docs":  # Python-Markdown's slugs
            ascii_text = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
            kept = re.sub(r"[^\w\s-]", "", ascii_text).strip().lower()
            found.add(re.sub(r"[-\s]+", "-", kept))
        else:
            found.add(re.sub(r"[^\w -]", "", plain).strip().lower().replace(" ", "-"))
    return found


def command_lines(text: str) -> Iterator[str]:
    """The lines of a document's shell code that call gridgate or MONAI, and inline calls."""
    for block in blocks(text):
        if block.language in ("", "sh", "bash", "shell"):
            for line in block.code.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s&&\s|;\s", re.sub(r"\s#\s.*", "", line)):
                    if _calls(part):
                        yield part.strip()
    for code in inline_code(text):
        if _calls(code):
            yield code


def _calls(line: str) -> bool:
    line = line.strip().removeprefix("$ ")
    while re.match(r"[A-Z_]+=\S+ ", line):  # variables before the command
        line = line.partition(" ")[2]
    return bool(
        re.match(r"(\S*/)?gridgate [a-z-]", line)
        or re.match(r"\S*python3? -m (gridgate|monai\.bundle) \w", line)
    )
