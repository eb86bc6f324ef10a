"""Seconds by stage, for the table of cases that inference writes."""

from collections.abc import Hashable, Iterator, MutableMapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any


@contextmanager
def stage(item: MutableMapping[Hashable, Any], name: str) -> Iterator[None]:
    """Add the seconds the block takes to item["timings"][name]; without that dict do nothing."""
    start = perf_counter()
    yield
    timings = item.get("timings")
    if isinstance(timings, MutableMapping):
        timings[name] = timings.get(name, 0.0) + perf_counter() - start
