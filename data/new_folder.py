"""A folder that is there complete, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigError, OutputError


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder beside the target to work in, which becomes it when the block ends without error.

    Args:
        folder: the target; it must not exist.

    Raises:
        ConfigError: the target exists.
        OutputError: it cannot be made.

    Example:
        >>> root = Path(tempfile.mkdtemp())
        >>> with new_folder(root / "made") as work:
        ...     _ = (work / "page.md").write_text("all of it")
        >>> [path.name for path in root.iterdir()]
        ['made']
    """
    target = Path(folder)
    refuse_existing(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        os.chmod(work, 0o755)
        yield work
        os.rename(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def refuse_existing(folder: str | os.PathLike[str], advice: str = "give another folder") -> None:
    """Refuse a folder that exists, before any work is done for it.

    Raises:
        ConfigError: it exists.
    """
    if os.path.lexists(folder):
        raise ConfigError(f"{os.fspath(folder)} exists already; {advice}")
