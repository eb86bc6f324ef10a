"""What an import refuses: folders that it may not write into, and cases that cannot be read."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ...errors import DatasetError
from .record import FILE, Record
from .source import Source

_LOG = logging.getLogger("gridgate.datasets")
_NAMED = 10  # cases that an error lists


def refuse_source_as_output(origin: str, folder: Path) -> None:
    """Refuse to write a dataset into its own source, or around it.

    Raises:
        DatasetError: it would be.
    """
    if not os.path.exists(origin):
        return
    source, target = Path(origin).resolve(), folder.resolve()
    if source == target or target in source.parents:
        raise DatasetError(
            f"{folder}: the dataset would be written over its source {origin}; give another folder"
        )


def _is_same(one: str, other: str) -> bool:
    """Whether two origins are one, however their paths are written."""
    if "://" in one or "://" in other:
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)


def refuse_another(origin: str, record: Record) -> None:
    """Refuse a folder that holds another dataset.

    Args:
        origin: of the source that is to be imported.
        record: of the folder.

    Raises:
        DatasetError: it holds another source's import, or a dataset that is none.
    """
    folder = record.output.folder
    if record.origin and not _is_same(record.origin, origin):
        raise DatasetError(
            f"{folder}: holds the import of {record.origin}; give another folder for {origin}"
        )
    for name in ("dataset.json", FILE):
        if os.path.lexists(folder / name) and not record.output.owns(name):
            raise DatasetError(
                f"{folder / name}: was not written by an import, or was changed since; give "
                "another folder for the dataset, or move the file away"
            )


def refuse_broken(broken: dict[str, str], source: Source, *, skip: bool) -> None:
    """Refuse an import that lacks cases, or warn of each.

    Args:
        broken: case -> why it cannot be read.
        source: of all cases.
        skip: cases may be left out, though not all of them.

    Raises:
        DatasetError: there are such cases, and they may not; or no other is left.
    """
    for case, why in broken.items():
        if skip:
            _LOG.warning(f"the case {case} is left out: {why}")
    if broken and not skip:
        told = "".join(f"\n  {case}: {why}" for case, why in list(broken.items())[:_NAMED])
        more = f"\n  and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise DatasetError(
            f"{source.origin}: {len(broken)} of {len(source.cases) + len(source.tests)} cases "
            f"cannot be imported:{told}{more}\nMend them and start the same command again, which "
            "goes on where it was; or leave them out by --skip_broken"
        )
    if len(broken) == len(source.cases) + len(source.tests):
        raise DatasetError(f"{source.origin}: no case of it can be imported")
