"""Zips of DICOM: listed without unpacking; one series at a time is unpacked for reading, and removed again.

No name in an archive is ever used as a path on the disk: members are unpacked under numbers.
"""

import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ImageError
from .headers import Damaged, Found, is_dicom, look_at_bytes

_HEAD = 1 << 16  # bytes; nearly all headers end before
_ROOM = 64 << 20  # bytes that are left free on the temporary disk
_CHUNK = 1 << 20
_HIDDEN = re.compile(r"\.[^.]|__MACOSX$")  # but not the ".." of odd archives
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def look_into_archive(path: Path) -> tuple[list[Found], list[Damaged]]:
    """The headers of a zip's DICOM members, and the members that should be DICOM and cannot be used.

    Raises:
        ImageError: the zip cannot be read, is damaged or encrypted.
    """
    found: list[Found] = []
    damaged: list[Damaged] = []
    with _opened(path) as archive:
        for member in archive.infolist():
            name = member.filename
            if member.is_dir() or any(_HIDDEN.match(part) for part in name.split("/")):
                continue
            with archive.open(member) as stream:
                content = stream.read(_HEAD)
                if not is_dicom(content[:132]):
                    continue
                one = look_at_bytes(content, name, whole=member.file_size <= _HEAD)
                if one is None and member.file_size > _HEAD:
                    one = look_at_bytes(content + stream.read(), name, whole=True)
            if isinstance(one, Found):
                found.append(one)
            elif one is not None:
                damaged.append(one)
    return found, damaged


@contextmanager
def unpacked(path: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Members of a zip as files on the disk, in the order of `names`, until the block ends.

    Raises:
        ImageError: the zip cannot be read, is damaged or encrypted, or the temporary disk has no
            room.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="gridgate-"))
    except OSError as error:
        raise ImageError(
            f"{path}: no temporary folder can be made ({error.strerror}); set TMPDIR"
        ) from error
    try:
        yield _unpack(path, names, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(path: Path, names: Sequence[str], folder: Path) -> list[Path]:
    files = []
    with _opened(path) as archive:
        try:
            members = [archive.getinfo(name) for name in names]
        except KeyError as error:
            raise ImageError(f"{path}: has changed since it was listed ({error.args[0]})") from None
        need, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
        if need + _ROOM > free:
            raise ImageError(
                f"{path}: unpacking needs {need >> 20} MB in {folder.parent}, and {free >> 20} MB "
                "are free; "
                "free space, or set TMPDIR to another disk"
            )
        for number, member in enumerate(members):
            file = folder / f"{number:06d}.dcm"
            with archive.open(member) as source, open(file, "xb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            files.append(file)
    return files


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.flag_bits & 1 for member in archive.infolist()):
                raise ImageError(
                    f"{path}: the zip is encrypted; unpack it with its password and give the folder"
                )
            yield archive
    except _DAMAGE as error:
        raise ImageError(
            f"{path}: the zip is damaged or not a zip ({error}); copy it again"
        ) from error
    except NotImplementedError as error:
        raise ImageError(
            f"{path}: the zip cannot be unpacked here ({error}); unpack it and give the folder"
        ) from error
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise ImageError(
            f"{path}: cannot be unpacked ({what}); check read access and free disk space"
        ) from error
