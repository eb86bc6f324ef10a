"""`gridgate cache`."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from .....data.datasets.cache.folder import VARIABLE, CaseCache, is_cache, user_cache
from .....data.datasets.cache.stored_case import StoredCase
from .....data.errors import ConfigError, GridgateError
from .....data.sizes import bytes_in_words

_UNITS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}  # seconds


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "cache", help="list the preprocessed cases that trainings have stored, or remove them"
    )
    command.add_argument(
        "--cache_dir",
        metavar="FOLDER",
        help=f"where they are; by default ${VARIABLE}, or gridgate in the user's cache folder",
    )
    command.add_argument("--clear", action="store_true", help="remove them")
    command.add_argument(
        "--older", metavar="AGE", help="only what was not used for so long: 12h, 30d or 8w"
    )


def run(options: argparse.Namespace) -> None:
    """List or remove stored cases."""
    folder = Path(options.cache_dir) if options.cache_dir else user_cache()
    until = None if options.older is None else time.time() - _seconds(options.older)
    if not is_cache(folder):
        print(f"{folder}: nothing is stored there")
        return
    cache = CaseCache(folder)
    if options.clear:
        _, size = cache.clear(unused_since=until)
        print(f"{folder}: {bytes_in_words(size)} removed")
        return
    found: dict[str, list[tuple[bool, int, float]]] = defaultdict(list)
    for case, used in cache.cases():
        if until is None or used <= until:
            dataset, is_whole = _told(case)
            found[dataset].append((is_whole, case.bytes, used))
    print(
        f"{folder}: {bytes_in_words(sum(size for parts in found.values() for _, size, _ in parts))}"
    )
    for dataset, parts in sorted(found.items()):
        count = sum(is_whole for is_whole, _, _ in parts)
        size = sum(size for _, size, _ in parts)
        last = time.localtime(max(used for _, _, used in parts))
        day = time.strftime("%Y-%m-%d %H:%M", last)
        print(
            f"  {dataset}: {count} case{'s' * (count != 1)}, {bytes_in_words(size)}, last used "
            f"{day}"
        )


def _told(case: StoredCase) -> tuple[str, bool]:
    """The dataset's folder that a case was read from; False for what only adds to another one."""
    try:
        about = case.about()
        return str(Path(about["image"]).parent.parent), not about["adds"]
    except (GridgateError, KeyError, TypeError):
        return "damaged", True


def _seconds(age: str) -> float:
    """The length of an age in words.

    >>> _seconds("36h"), _seconds("2w")
    (129600.0, 1209600.0)
    """
    try:
        found = float(age[:-1]) * _UNITS[age[-1:]]
    except (ValueError, KeyError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ConfigError(
            f"--older {age}: a number of hours, days or weeks is wanted: 12h, 30d, 8w"
        )
    return found
