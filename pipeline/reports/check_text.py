"""What a check found, for a terminal: a table of kinds, each with its first finding."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ...data.datasets.soundness.findings import DATASET, LEVELS, Finding, Report
from ...data.datasets.soundness.mending.steps import mends

_CASES = 4  # that a line names
_INDENT = " " * 9


def check_text(report: Report, *, width: int = 100) -> str:
    """The report as lines of a terminal.

    Args:
        report: of a check.
        width: of the terminal, characters.
    """
    lines = [headline(report)]
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        found = report.of_kind(kind)
        lines += ["", f"{found[0].level:<9}{kind:<26}{_cases(found)}"]
        # files by their place in the dataset, whose folder is in the first line
        lines += _wrapped(found[0].text.replace(f"{report.dataset}/", ""), width)
        if mends(kind):
            lines += _wrapped(f"--fix: {mends(kind)}", width)
    return "\n".join(lines)


def headline(report: Report) -> str:
    """One line: how many cases, and how much was found."""
    counted = ", ".join(
        f"{count} {level}{'' if count == 1 else 's'}"
        for level in LEVELS
        if (count := report.count(level))
    )
    cases = f"{report.cases} case{'' if report.cases == 1 else 's'}"
    return f"{report.dataset}: {cases} checked in {report.seconds:.1f} s: {counted or 'sound'}"


def plan_text(plan: Sequence[tuple[Finding, str]], *, width: int = 100) -> str:
    """What a mended copy would do, a line per finding.

    Args:
        plan: of `data.datasets.soundness.mending.copy.planned`.
        width: of the terminal, characters.
    """
    lines = []
    for finding, what in plan:
        if finding.level == "note" and not what:
            continue
        name = finding.case or "dataset.json"
        lines += textwrap.wrap(
            f"{name}: {finding.kind}: {what or 'stays; it needs a person'}",
            width,
            subsequent_indent=_INDENT,
        )
    return "\n".join(lines) or "nothing to mend"


def _cases(found: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(finding.case for finding in found if finding.case != DATASET))
    if not names:
        return "the dataset"
    more = f" and {len(names) - _CASES} more" if len(names) > _CASES else ""
    return f"{len(names)} case{'' if len(names) == 1 else 's'}: {', '.join(names[:_CASES])}{more}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
