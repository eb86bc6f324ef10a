"""Which cases are one patient's: the entry "patients" of dataset.json.

A patient's scans are alike. With one of them trained on, the Dice of another says too much; so all
of them are in one half of a fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .annotated import fits_any

PATIENTS = "patients"
"""The entry's name: {"<patient>": [case ids, or patterns with *], ...}."""


def patients_of(content: Mapping[str, Any], cases: Sequence[str], source: Path) -> dict[str, str]:
    """Case -> patient, of the cases that the entry names; the others are a patient each.

    Args:
        content: of dataset.json.
        cases: ids of all cases.
        source: the path of dataset.json, for errors.

    Raises:
        DatasetError: it is no such mapping, names what fits no case, or a case under two patients.

    Example:
        >>> content = {"patients": {"p1": ["p1_*"], "p2": ["before", "after"]}}
        >>> patients_of(content, ["p1_a", "p1_b", "before", "after", "x"], Path("dataset.json"))
        {'p1_a': 'p1', 'p1_b': 'p1', 'before': 'p2', 'after': 'p2'}
    """
    entries = content.get(PATIENTS, {})
    if not isinstance(entries, Mapping) or not all(map(_is_list, entries.values())):
        raise DatasetError(
            f'{source}: "{PATIENTS}" is to be a mapping of a patient to the ids of its cases, as '
            '{"p1": ["p1_before", "p1_after"]}; correct it'
        )
    found: dict[str, str] = {}
    ids = set(cases)
    for patient, keys in entries.items():
        for key in keys:
            fits = [key] if key in ids else []
            if "*" in key:
                fits = [case for case in cases if fits_any(key, [case])]
            if not fits:
                raise DatasetError(
                    f'{source}: "{PATIENTS}" names {key!r} for {patient}, which fits no case; '
                    "correct it"
                )
            for case in fits:
                if found.setdefault(case, str(patient)) != str(patient):
                    raise DatasetError(
                        f'{source}: "{PATIENTS}" has the case {case} under {found[case]} and '
                        f"{patient}; take it out of one"
                    )
    return found


def as_entry(patients: Mapping[str, str]) -> dict[str, list[str]]:
    """The entry of cases and their patients; a patient with one case is not told.

    >>> as_entry({"a": "p", "b": "p", "c": "q"})
    {'p': ['a', 'b']}
    """
    found: dict[str, list[str]] = {}
    for case, patient in sorted(patients.items()):
        found.setdefault(patient, []).append(case)
    return {patient: cases for patient, cases in sorted(found.items()) if len(cases) > 1}


def of_cases_left(entry: Mapping[str, Sequence[str]], there: Sequence[str]) -> dict[str, list[str]]:
    """The entry where some cases have gone: without what fits none of those that are there.

    >>> of_cases_left({"p": ["a", "b*"], "q": ["c"]}, ["a", "d"])
    {'p': ['a']}
    """
    kept = {
        patient: [key for key in keys if fits_any(key, there)] for patient, keys in entry.items()
    }
    return {patient: keys for patient, keys in kept.items() if keys}


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
