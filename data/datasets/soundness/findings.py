"""What a check finds: kinds, levels, and the report of a whole dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...files import refuse_existing_file, write_atomically

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""An error spoils a training; a warning may; a note is good to know."""

DATASET = ""
"""In the place of a case: the finding is about the dataset as a whole."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Args:
        kind: a stable id, such as "label-shifted".
        level: how bad it is.
        case: the case's id; DATASET for the dataset as a whole.
        text: names the file, what is wrong (in mm where it applies), the likely cause, what to do.
        numbers: what was measured, for tools.
    """

    kind: str
    level: Level
    case: str
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        dataset: the folder.
        cases: how many there are, without label map those too.
        findings: errors first, then by kind and case.
        seconds: the check took.
    """

    dataset: Path
    cases: int
    findings: tuple[Finding, ...]
    seconds: float

    def count(self, level: Level) -> int:
        """How many findings there are of a level."""
        return sum(finding.level == level for finding in self.findings)

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of a kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def as_json(self) -> bytes:
        """All of it as a JSON object."""
        content = {
            "dataset": str(self.dataset),
            "cases": self.cases,
            "seconds": round(self.seconds, 2),
            **{f"{level}s": self.count(level) for level in LEVELS},
            "findings": [asdict(finding) for finding in self.findings],
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"
        return text.encode("utf-8", "backslashreplace")

    def write_json(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write all of it as a JSON object.

        Args:
            overwrite: replace a file that is there, whoever wrote it.

        Raises:
            OutputError: it cannot be written, or is there already.
        """
        refuse_existing_file(path, overwrite=overwrite)
        content = self.as_json()
        write_atomically(path, lambda stream: stream.write(content))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by kind and case.

    >>> found = [Finding("b", "note", "1", ""), Finding("a", "error", "2", "")]
    >>> [finding.kind for finding in in_order(found)]
    ['a', 'b']
    """
    return tuple(
        sorted(findings, key=lambda one: (LEVELS.index(one.level), one.kind, one.case, one.text))
    )


def _plain(value: Any) -> Any:
    """A number of NumPy's as JSON holds it; a path as text."""
    return value.item() if hasattr(value, "item") else str(value)
