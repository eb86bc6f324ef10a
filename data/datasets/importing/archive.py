"""Tar archives of datasets: looked through before anything is unpacked, and never trusted."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from ...errors import DatasetError
from .source import Member

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}
_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class Archive:
    """What a tar holds.

    Args:
        path: of the tar.
        members: path in the archive, without the folder that all are in -> member.
        left_out: files that macOS has put there (._name, .DS_Store).
    """

    path: Path
    members: dict[str, Member]
    left_out: int


def look_into(path: Path, checksum: str) -> Archive:
    """List an archive, and refuse one that is not what data sets are shipped as.

    Args:
        checksum: of the archive, which its members keep.

    Raises:
        DatasetError: it cannot be read, is cut off, or holds a path that leads out of it, a link, a
            device or one file twice; nothing was unpacked then.
    """
    members: dict[str, Member] = {}
    left_out = 0
    try:
        with tarfile.open(path) as archive:
            packed = not path.name.lower().endswith(".tar")
            for one in archive:
                _refuse_unsafe(one, path)
                if one.isdir():
                    continue
                if _of_macos(one.name):
                    left_out += 1
                    continue
                name = PurePosixPath(one.name).as_posix().removeprefix("./")
                if name in members:
                    raise DatasetError(f"{path}: holds {name} twice; nothing was unpacked")
                offset = None if packed else one.offset_data
                members[name] = Member(path, one.name, one.size, checksum, offset)
    except _DAMAGE as error:
        raise DatasetError(
            f"{path}: is cut off, damaged or no tar ({error}); get it again"
        ) from None
    return Archive(path, _without_common_folder(members), left_out)


@contextmanager
def opened_member(member: Member) -> Iterator[IO[bytes]]:
    """The bytes of a member; it may end before its size where the archive is cut off.

    Raises:
        DatasetError: the archive cannot be read.
    """
    try:
        if member.offset is not None:
            with open(member.archive, "rb") as stream:
                stream.seek(member.offset)
                yield stream
            return
        with tarfile.open(member.archive) as archive:
            inside = archive.extractfile(member.name)
            if inside is None:
                raise DatasetError(f"{member.archive}: {member.name} is no file in it")
            yield inside
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DatasetError(f"{member.archive}: is damaged ({error}); get it again") from None


def _refuse_unsafe(one: tarfile.TarInfo, path: Path) -> None:
    posix, windows = PurePosixPath(one.name), PureWindowsPath(one.name)
    outside = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if outside or "\0" in one.name or not one.name:
        raise DatasetError(
            f"{path}: holds {one.name!r}, which leads out of the archive; it is not what is "
            "published, and nothing was unpacked"
        )
    if one.isdir() or one.type in _PLAIN:
        return
    kind = _KINDS.get(one.type, "no plain file")
    raise DatasetError(
        f"{path}: holds {one.name!r}, which is {kind}; it is not what is published, and nothing "
        "was unpacked"
    )


def _of_macos(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith("._") or path.name == ".DS_Store" or "__MACOSX" in path.parts


def _without_common_folder(members: dict[str, Member]) -> dict[str, Member]:
    first = {name.partition("/")[0] for name in members}
    if len(first) != 1 or not all("/" in name for name in members):
        return members
    return {name.partition("/")[2]: member for name, member in members.items()}
