"""Links, anchors and pictures of the documents lead somewhere; no page is left out of the site."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .documents import DOCS, DOCUMENTS, REPOSITORY, anchors, links, prose, text_of

PICTURES = DOCS / "pictures"
LARGEST = 300_000  # bytes of a picture


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    wrong = []
    for link in links(text_of(document)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / document.parent / path).resolve() if path else REPOSITORY / document
        if not target.exists():
            wrong.append(f"{link}: there is no such file")
        elif anchor and anchor not in anchors(target.relative_to(REPOSITORY)):
            wrong.append(f"{link}: the page has no such heading")
    assert wrong == []


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one.parts[0] == "docs"], ids=str)
def test_pages_of_the_site_link_within_it(document: Path) -> None:
    """What is outside docs/ is not on the site; its files are named, not linked."""
    outside = [
        link
        for link in links(text_of(document))
        if "://" not in link
        and not (REPOSITORY / document.parent / link).resolve().is_relative_to(DOCS)
    ]
    assert outside == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"(?:^|`)make ([\w-]+)", (REPOSITORY / document).read_text(), re.MULTILINE)
    )
    assert named <= targets


def test_every_page_is_in_the_navigation_once() -> None:
    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())
    listed = sorted(_pages(settings["nav"]))
    there = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert listed == there
    assert settings["strict"] is True


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    inside = entry.values() if isinstance(entry, dict) else entry
    return [page for one in inside for page in _pages(one)]


def test_every_picture_is_shown_has_words_and_is_small() -> None:
    shown = set()
    for document in DOCUMENTS:
        for words, link in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(text_of(document))):
            assert words, f"{document}: {link} has no words for those who cannot see it"
            shown.add((REPOSITORY / document.parent / link).resolve())
    there = set(PICTURES.glob("*"))
    assert there and there <= shown
    for picture in there:
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", picture
        assert picture.stat().st_size < LARGEST, picture


def test_no_page_loads_anything_from_elsewhere() -> None:
    for document in DOCUMENTS:
        pictures = re.findall(
            r"!\[[^\]]*\]\((\S+?)\)|<(?:img|script|link)\b[^>]*>", text_of(document)
        )
        assert not [one for one in pictures if "://" in one], document


def test_extras_that_are_named_exist() -> None:
    """`pip install ".[docs]"`, in the Makefile and in the pages."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    texts = [(REPOSITORY / "Makefile").read_text(), *map(text_of, DOCUMENTS)]
    named = {extra for text in texts for extra in re.findall(r'"\.\[([\w,]+)\]"', text)}
    assert {one for extras in named for one in extras.split(",")} <= set(
        setup["options.extras_require"]
    )


def test_ci_ends_with_the_tests_as_everyone_runs_them() -> None:
    assert (REPOSITORY / ".ci" / "run").read_text().splitlines()[-2:] == ["make lint", "make test"]
