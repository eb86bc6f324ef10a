"""Files that appear complete or not at all, and names that stay inside their folder."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from .errors import OutputError

Save = Callable[[Path, Callable[[BinaryIO], object]], object]
"""As write_atomically: given a path, and what writes the content to a binary stream."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.gridgate-part")
_LONGEST = 200  # bytes of a name within a temporary name; file systems allow 255


def write_atomically(
    path: str | Path,
    write: Callable[[BinaryIO], object],
    *,
    before_rename: Callable[[os.stat_result], object] | None = None,
) -> None:
    """Give `write` a file beside `path`, and rename it to `path` once all is on disk.

    Args:
        path: its folder is made if absent.
        write: writes the content to the binary stream it is given.
        before_rename: told of the complete file; what it raises leaves `path` as it was.

    Raises:
        OutputError: the system refuses (disk full, read-only, a folder in the way); the file beside
            is removed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomically(folder / "new" / "a.txt", lambda stream: stream.write(b"text"))
        >>> [path.name for path in (folder / "new").iterdir()]
        ['a.txt']
    """
    path = Path(path)
    beside = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            if before_rename is not None:
                before_rename(os.stat(beside))
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: cannot be written ({reason}); free space or choose another folder"
        ) from error


def refuse_existing_file(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse to replace a file, whoever wrote it.

    Args:
        overwrite: it may be replaced; a folder may not.

    Raises:
        OutputError: it is there, and may not be replaced.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; give the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} is there already; --overwrite True replaces it")


def check_writable(path: str | Path) -> None:
    """Find out whether a file can be written later; one that is there stays as it is.

    Args:
        path: its folder is made if absent.

    Raises:
        OutputError: the system refuses.
    """
    path = Path(path)
    beside = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        open(beside, "xb").close()
        beside.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: cannot be written ({reason}); free space or choose another folder"
        ) from error


def temporary_name(name: str) -> str:
    """The name of a file that is being written and will be called `name`.

    >>> is_temporary(temporary_name("case.nii.gz")), is_temporary(".download.partial")
    (True, False)
    """
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return f".{name}.{uuid.uuid4().hex[:12]}.gridgate-part"


def is_temporary(name: str) -> bool:
    """Whether a file's name is one of `temporary_name`; other programs' temporary files are not."""
    return _TEMPORARY.fullmatch(name) is not None


def path_inside(folder: str | Path, name: str | Path) -> Path:
    """The path of a file in a folder or its sub-folders; every writer of results asks here.

    Args:
        folder: where results go.
        name: such as "case.nii.gz" or "sub/case.nii.gz".

    Raises:
        OutputError: the name is empty, absolute, has a drive letter, or leads out of the folder by
            ".." on this or any other system.

    Example:
        >>> path_inside("out", "sub/case.nii.gz").as_posix()
        'out/sub/case.nii.gz'
        >>> path_inside("out", "../case.nii.gz")
        Traceback (most recent call last):
        gridgate.data.errors.OutputError: ../case.nii.gz: the name leads out of the folder out; ...
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outside = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if outside or not posix.parts or "\0" in str(name):
        raise OutputError(
            f"{name}: the name leads out of the folder {folder}; give the case another id"
        )
    return Path(folder) / name


def settled(path: str | Path) -> Path:
    """An absolute path without "..", and without links among its folders; its last name stays.

    Where a file lies says nothing of the folder that a command was typed in.

    >>> settled("/usr/../a.nii.gz").as_posix()
    '/a.nii.gz'
    """
    path = Path(path).absolute()
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
