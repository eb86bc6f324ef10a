"""The files of a folder, however deep, in an order that does not change from run to run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


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
    folder: Path, *, recursive: bool = True, exclude: Sequence[Path] = ()
) -> Iterator[tuple[Path, OSError | None]]:
    """Each file of a folder, sorted by name a folder; hidden files and folders (a dot first) are left out.

    Links to folders are followed, each folder once, so that a link in a circle ends.

    Args:
        folder: where to start.
        recursive: folders inside it as well.
        exclude: absolute, resolved paths of files or folders that are left out with all that is in
            them.

    Yields:
        (file, None), or (folder, error) for a folder that cannot be listed.
    """
    yield from _walk(folder, recursive, frozenset(exclude), set())


def _walk(
    folder: Path, recursive: bool, exclude: frozenset[Path], seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, OSError | None]]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(
                (entry.name, entry.is_dir()) for entry in listing if not entry.name.startswith(".")
            )
    except OSError as error:
        yield folder, error
        return
    # Resolving each of thousands of files would be slow: the folder is resolved once.
    resolved = folder.resolve() if exclude else folder
    for name, is_folder in entries:
        path = folder / name
        if exclude and (
            resolved / name in exclude or (path.is_symlink() and path.resolve() in exclude)
        ):
            continue
        if not is_folder:
            yield path, None
        elif recursive and name != "__MACOSX":
            yield from _walk(path, recursive, exclude, seen)
