"""Which labels were annotated in which case: the entry "annotated" of dataset.json."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DatasetError

ANNOTATED = "annotated"
"""The entry's name: {"<case id, or a pattern with *>": [labels], ...}."""

_NAMED = 6  # names that an error lists


def annotated_labels(
    content: Mapping[str, Any], labels: Sequence[str], cases: Sequence[str], source: Path
) -> dict[str, tuple[str, ...]]:
    """The labels that were annotated in each case that is not wholly annotated.

    A case's id comes before a pattern, and a longer pattern before a shorter one. A case that no
    key fits is wholly annotated.

    Args:
        content: of dataset.json.
        labels: names of the foreground labels, or of the regions.
        cases: ids of all cases.
        source: the path of dataset.json, for errors.

    Raises:
        DatasetError: a key fits no case, or a list is empty or names what is no label: such a case
            would be taken for wholly annotated, and train the wrong thing. Two patterns of the same
            length fit a case and say different things of it.

    Example:
        >>> content = {"annotated": {"btcv_*": ["liver"], "btcv_7": ["liver", "spleen"]}}
        >>> ids = ["btcv_1", "btcv_7", "x"]
        >>> annotated_labels(content, ["liver", "spleen"], ids, Path("dataset.json"))
        {'btcv_1': ('liver',)}
    """
    entries = _checked(content.get(ANNOTATED, {}), labels, source)
    fitting: dict[str, list[str]] = {key: [] for key in entries}
    matchers = {key: _pattern(key) for key in entries}
    found: dict[str, tuple[str, ...]] = {}
    for case in cases:
        keys = [key for key in entries if key == case or matchers[key].fullmatch(case)]
        for key in keys:
            fitting[key].append(case)
        if keys:
            names = entries[_first(keys, entries, case, source)]
            if set(names) != set(labels):
                found[case] = names
    for key, fits in fitting.items():
        if not fits:
            near = difflib.get_close_matches(key, cases, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise DatasetError(
                f'{source}: "{ANNOTATED}" names {key}, which fits no case{hint}; correct or remove '
                "it"
            )
    return found


def unannotated_labels(annotated: Iterable[str] | None, labels: Iterable[str]) -> tuple[str, ...]:
    """The labels that a case does not have annotated, in order.

    Args:
        annotated: those it has; None: all.
        labels: names of the foreground labels, or of the regions.

    Example:
        >>> unannotated_labels(["liver"], ["liver", "spleen"]), unannotated_labels(None, ["liver"])
        (('spleen',), ())
    """
    if annotated is None:
        return ()
    there = set(annotated)
    return tuple(name for name in labels if name not in there)


def fits_any(key: str, cases: Iterable[str]) -> bool:
    """Whether a case's id, or a pattern with stars, fits one of some cases.

    >>> fits_any("btcv_*", ["btcv_1"]), fits_any("btcv_?", ["btcv_1"])
    (True, False)
    """
    pattern = _pattern(key)
    return any(key == case or pattern.fullmatch(case) for case in cases)


def _checked(entries: Any, labels: Sequence[str], source: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(entries, dict):
        raise DatasetError(
            f'{source}: "{ANNOTATED}" is a {type(entries).__name__}, not an object such as '
            '{"btcv_*": ["liver"]}'
        )
    checked = {}
    for key, names in entries.items():
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DatasetError(
                f'{source}: "{ANNOTATED}" of {key} is {names!r}, not a list of labels'
            )
        wanted = {name for name in names if name != "background" or name in labels}
        for name in wanted - set(labels):
            near = difflib.get_close_matches(name, labels, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            told = ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
            raise DatasetError(
                f'{source}: "{ANNOTATED}" of {key} names {name!r}, which is no label{hint}; there '
                f"are {told}"
            )
        if not wanted:
            raise DatasetError(
                f'{source}: "{ANNOTATED}" of {key} names no label; a case without any annotation '
                "teaches nothing and measures nothing: move it to imagesTs"
            )
        checked[str(key)] = tuple(name for name in labels if name in wanted)
    return checked


def _pattern(key: str) -> re.Pattern[str]:
    """The star stands for anything; every other character for itself."""
    return re.compile(".*".join(re.escape(part) for part in key.split("*")), re.DOTALL)


def _first(
    keys: Sequence[str], entries: Mapping[str, tuple[str, ...]], case: str, source: Path
) -> str:
    """The key that counts, of those that fit a case."""
    if case in keys:
        return case
    longest = max(len(key) for key in keys)
    best = [key for key in keys if len(key) == longest]
    if len({entries[key] for key in best}) > 1:
        raise DatasetError(
            f'{source}: "{ANNOTATED}" says different things of the case {case} by '
            f"{' and '.join(best)}; name the case itself, or make one pattern longer"
        )
    return best[0]
