"""Zips of DICOM: listed without unpacking; one series at a time is unpacked, and removed again.

No name in an archive is ever used as a path on the disk: members are unpacked under numbers. What
is read of a member for listing is bounded, whatever it inflates to.
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
from typing import IO

from ...errors import ImageError
from .headers import HEADER_LIMIT, is_dicom, look_at_bytes
from .types import Damaged, Found

NESTED = "an archive in an archive, which is not opened; unpack the outer one"
"""Why such a member is passed over."""

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
_HEAD = 1 << 16  # bytes; nearly all headers end before
_FIRST = 132  # bytes that tell whether a file is DICOM
_ROOM = 64 << 20  # bytes that are left free on the temporary disk
_CHUNK = 1 << 20
_STEP = 1 << 12
_HIDDEN = re.compile(r"\.[^.]|__MACOSX$")  # but not the ".." of odd archives
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
# No scan is packed so well: not even one of air alone, with its headers.
_LARGE, _IMPOSSIBLE_RATIO = 256 << 20, 300


def look_into_archive(path: Path) -> tuple[list[Found], list[Damaged]]:
    """The headers of a zip's DICOM members, and the members that are DICOM and cannot be used.

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
            one = _look_at_member(archive, member)
            if isinstance(one, Found):
                found.append(one)
            elif one is not None:
                damaged.append(one)
    return found, damaged


@contextmanager
def unpacked(path: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Members of a zip as files on the disk, in the order of `names`, until the block ends.

    Raises:
        ImageError: the zip cannot be read, is damaged or encrypted, inflates to far more than a
            scan can, or the temporary disk has no room.
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


def _look_at_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Found | Damaged | None:
    name = member.filename
    if name.lower().endswith(_ARCHIVES):
        return Damaged(name, os.path.dirname(name), NESTED, sure=False)
    if (
        member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        and member.file_size > _IMPOSSIBLE_RATIO * member.compress_size
    ):
        reason = f"{member.compress_size} bytes of it unpack to {member.file_size}; unpack the zip"
        return Damaged(name, os.path.dirname(name), reason, sure=False)
    with archive.open(member) as stream:
        content = _read(stream, member, _FIRST)
        if not is_dicom(content):
            return None
        content += _read(stream, member, _HEAD - len(content))
        one = look_at_bytes(content, name, whole=member.file_size <= _HEAD)
        if one is not None or member.file_size <= _HEAD:
            return one
        content += _read(stream, member, HEADER_LIMIT - len(content))
    one = look_at_bytes(content, name, whole=member.file_size <= HEADER_LIMIT)
    if one is not None or member.file_size <= HEADER_LIMIT:
        return one
    reason = (
        f"its DICOM header does not end within {HEADER_LIMIT >> 20} MB, or is damaged; unpack the "
        "zip and give the folder, if the file is a scan"
    )
    return Damaged(name, os.path.dirname(name), reason)


def _read(stream: IO[bytes], member: zipfile.ZipInfo, count: int) -> bytes:
    """At most `count` bytes; in small steps where zipfile would inflate without a bound."""
    if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return stream.read(count)
    content = b""
    while len(content) < count and (more := stream.read(min(_STEP, count - len(content)))):
        content += more
    return content


def _unpack(path: Path, names: Sequence[str], folder: Path) -> list[Path]:
    files = []
    with _opened(path) as archive:
        try:
            members = [archive.getinfo(name) for name in names]
        except KeyError as error:
            raise ImageError(f"{path}: has changed since it was listed ({error.args[0]})") from None
        _check_sizes(path, members, folder)
        for number, member in enumerate(members):
            file = folder / f"{number:06d}.dcm"
            with archive.open(member) as source, open(file, "xb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            files.append(file)
    return files


def _check_sizes(path: Path, members: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    need, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    packed = sum(member.compress_size for member in members)
    if need > _LARGE and need > _IMPOSSIBLE_RATIO * packed:
        raise ImageError(
            f"{path}: {packed >> 10} KB of it unpack to {need >> 20} MB, which no scan does; "
            "unpack it yourself and give the folder, if you trust it"
        )
    if need + _ROOM > free:
        raise ImageError(
            f"{path}: unpacking needs {need >> 20} MB in {folder.parent}, and {free >> 20} MB "
            "are free; "
            "free space, or set TMPDIR to another disk"
        )


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
