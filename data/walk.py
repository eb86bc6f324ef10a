"""The files of a folder, however deep, in an order that does not change from run to run."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .images.compression import why_no_file


@dataclass(frozen=True)
class PassedOver:
    """Something that was found and deliberately not taken.

    Args:
        source: a file, folder or series, in words.
        note: why it was not taken.
    """

    source: str
    note: str


def walk_files(
    folder: Path,
    *,
    recursive: bool = True,
    exclude: Sequence[Path] = (),
    passed: list[PassedOver] | None = None,
) -> Iterator[tuple[Path, OSError | None]]:
    """Each file of a folder, sorted by name per folder, without hidden files and folders (a dot).

    Links to folders are followed, each folder once, so that a link in a circle ends. Named pipes,
    sockets, devices and links that lead to themselves are left out, as opening one may never end.

    Args:
        folder: where to start.
        recursive: folders inside it as well.
        exclude: absolute, resolved paths of files or folders that are left out with all that is in
            them.
        passed: is given what was left out because it is no file, with the reason.

    Yields:
        (file, None), or (folder, error) for a folder that cannot be listed.
    """
    told = [] if passed is None else passed
    yield from _walk(folder, recursive, frozenset(exclude), set(), told)


def _walk(
    folder: Path,
    recursive: bool,
    exclude: frozenset[Path],
    seen: set[tuple[int, int]],
    passed: list[PassedOver],
) -> Iterator[tuple[Path, OSError | None]]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(
                (entry.name, *_looked_at(entry))
                for entry in listing
                if not entry.name.startswith(".")
            )
    except OSError as error:
        yield folder, error
        return
    # Resolving each of thousands of files would be slow: the folder is resolved once.
    resolved = folder.resolve() if exclude else folder
    for name, is_folder, trouble in entries:
        path = folder / name
        if exclude and (
            resolved / name in exclude
            or (path.is_symlink() and Path(os.path.realpath(path)) in exclude)
        ):
            continue
        if trouble:
            passed.append(PassedOver(os.path.abspath(path), trouble))
        elif not is_folder:
            yield path, None
        elif recursive and name != "__MACOSX":
            yield from _walk(path, recursive, exclude, seen, passed)


def _looked_at(entry: os.DirEntry[str]) -> tuple[bool, str]:
    """Whether an entry is a folder; and what keeps it from being opened as a file, or ""."""
    try:
        if entry.is_dir():
            return True, ""
        if entry.is_file():
            return False, ""
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return False, ""  # a link to nothing: reading it says so
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False, "a link that leads to itself"
        return False, f"it cannot be looked at ({error.strerror})"
    kind = why_no_file(mode)
    if kind is None and not stat.S_ISREG(mode):
        kind = "neither a file nor a folder"
    return False, f"{kind}, not a file" if kind else ""
