"""CITATION.cff is valid in what version 1.2.0 of the format asks for, and of this version."""

import configparser
import re

import yaml

from .documents import REPOSITORY

# what the format's schema (1.2.0) requires, and the types and identifiers that it knows
REQUIRED = {"authors", "cff-version", "message", "title"}
KNOWN = {
    *REQUIRED,
    *("abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "preferred-citation", "references", "repository"),
    *("repository-artifact", "repository-code", "type", "url", "version"),
}


def test_citation_is_whole_and_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation.keys() >= REQUIRED
    assert citation.keys() <= KNOWN
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    metadata = setup["metadata"]
    assert str(citation["version"]) == metadata["version"]
    assert citation["license"] == metadata["license_expression"]
    for author in citation["authors"]:
        assert author.keys() in ({"name"}, {"family-names", "given-names"})


def test_references_are_papers_with_a_number() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    for reference in citation["references"]:
        assert reference.keys() >= {"authors", "title", "type"}  # the schema's
        numbers = [one["value"] for one in reference.get("identifiers", [])]
        assert reference.get("doi", "").startswith("10.") or any(
            re.fullmatch(r"arXiv:\d{4}\.\d{5}", number) for number in numbers
        )
