"""The documents against what they speak of."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY)
    for path in REPOSITORY.rglob("*.md")
    if not any(part[0] == "." for part in path.relative_to(REPOSITORY).parts)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (REPOSITORY / document).read_text()
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link
    ]
    missing = [
        link for link in links if link and not (REPOSITORY / document.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"(?:^|`)make ([\w-]+)", (REPOSITORY / document).read_text(), re.MULTILINE)
    )
    assert named <= targets


def test_ci_ends_with_the_tests_as_everyone_runs_them() -> None:
    assert (REPOSITORY / ".ci" / "run").read_text().splitlines()[-2:] == ["make lint", "make test"]
