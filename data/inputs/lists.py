"""Lists of images: a .txt with a path per line, or a .csv with a column of paths."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, ImageError
from ..ids import why_unsafe
from ..images.compression import check_regular

LIST_SUFFIXES = (".txt", ".csv")
_LONGEST = 64_000_000  # bytes: more than half a million long paths
_PATH_COLUMNS = ("image", "path", "input")
_ID_COLUMNS = ("id", "case", "case_id")


@dataclass(frozen=True)
class Listed:
    """A line of a list.

    Args:
        path: absolute; whether there is such a file is not looked at.
        name: the id that the list gives it, or None.
    """

    path: Path
    name: str | None


def read_list(path: Path) -> list[Listed]:
    """The lines of a list in their order; paths are relative to the list's folder.

    Raises:
        ConfigError: it cannot be read, is not UTF-8 text, is empty, has no column of paths, a line
            has no path, an id is there twice or cannot be a file's name.
    """
    try:
        check_regular(path)
        size = path.stat().st_size
        if size > _LONGEST:
            raise ConfigError(
                f"{path}: {size / 1e6:.0f} MB are too much for a list of paths; is it one? Split it"
            )
        text = path.read_text(encoding="utf-8-sig")
    except ImageError as error:
        raise ConfigError(f"{path}: the list cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the list is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: the list cannot be read ({error.strerror})") from None
    lines = _table(path, text) if path.suffix.lower() == ".csv" else _plain(path, text)
    if not lines:
        raise ConfigError(f"{path}: no path in the list; write one per line")
    seen: set[str] = set()
    for line in lines:
        if line.name is None:
            continue
        trouble = why_unsafe(line.name)
        if trouble is None and line.name.casefold() in seen:
            trouble = "is there twice, upper and lower case being one"
        if trouble is not None:
            raise ConfigError(f"{path}: the id {line.name!r} {trouble}; give another")
        seen.add(line.name.casefold())
    return lines


def _plain(path: Path, text: str) -> list[Listed]:
    lines = [line.strip() for line in text.splitlines()]
    return [_listed(path, line, None) for line in lines if line and not line.startswith("#")]


def _table(path: Path, text: str) -> list[Listed]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ConfigError(f"{path}: the list is no table ({error}); save it as CSV") from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((names.index(name) for name in _PATH_COLUMNS if name in names), None)
    if column is None:
        raise ConfigError(
            f"{path}: none of the columns {', '.join(_PATH_COLUMNS)} is in the list's first line, "
            "which has "
            f"{', '.join(names) or 'nothing'}; name the column of paths"
        )
    ids = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
    lines = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        image = row[column].strip() if column < len(row) else ""
        if not image:
            raise ConfigError(
                f"{path}: row {number} has no path in the column {names[column]}; add it or remove "
                "the row"
            )
        name = row[ids].strip() if ids is not None and ids < len(row) else ""
        lines.append(_listed(path, image, name or None))
    return lines


def _listed(path: Path, image: str, name: str | None) -> Listed:
    full = os.path.join(os.path.abspath(path.parent), os.path.expanduser(image))
    if "\0" in full:
        raise ConfigError(f"{path}: a path in the list holds a zero byte; is it a text file?")
    return Listed(Path(os.path.normpath(full)), name)
