"""A large file from an address: resumed by HTTP ranges, its size and checksum verified."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ...errors import DatasetError, OutputError
from ...output_folder import OutputFolder
from ...progress import Progress

_LOG = logging.getLogger("gridgate.datasets")
_PIECE = 1 << 20
_ATTEMPTS = 5
_TIMEOUT = 60.0  # seconds
_ROOM = 64 << 20  # bytes that are left free
_MB = 1_000_000
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, urllib.error.URLError)


def download(
    address: str,
    output: OutputFolder,
    relative: str,
    *,
    md5: str | None,
    room: int = 1,
    progress: bool = True,
    wait: float = 2.0,
) -> Path:
    """Get a file into an output folder; what is there of it already is not got again.

    What has come so far is in `<relative>.partial`. The file has its name once its size and its
    checksum are right.

    Args:
        address: http:// or https://.
        output: held by the caller.
        relative: path in it.
        md5: in hexadecimal; None where it is not known.
        room: how many times its size must be free; 2 where it is unpacked beside.
        progress: show how far it is.
        wait: seconds before another attempt after the connection broke; twice as long each time.

    Raises:
        DatasetError: the address cannot be reached, answers with an error or with another size
            than it says, the checksum is wrong.
        OutputError: the disk has no room, or a file that Gridgate did not write is in the way.
    """
    if not address.lower().startswith(("http://", "https://")):
        raise DatasetError(f"{address}: is no address; it begins with https:// or http://")
    done = output.path(relative)
    if output.owns(relative) and _matches(done, md5):
        return done
    partial = f"{relative}.partial"
    if not output.owns(partial):
        output.refuse_foreign([partial])
    path = output.path(partial)
    had = _size(path)

    def claim() -> None:
        """Something comes: from now on the file is ours, also if this run is killed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        output.record(partial, any_content=True)

    for attempt in range(_ATTEMPTS):
        try:
            _go_on(address, path, room, claim, progress=progress)
            break
        except _BROKEN as error:
            never = isinstance(error, urllib.error.URLError) and _size(path) == had
            if never or attempt == _ATTEMPTS - 1 or isinstance(error, urllib.error.HTTPError):
                raise _unreachable(address, path, error) from None
            _LOG.warning(f"{address}: the connection broke ({_reason(error)}); trying again")
            time.sleep(wait * 2**attempt)
    _check(path, address, md5)
    output.refuse_foreign([relative])
    output.record(relative, any_content=True)  # before it is there, or a killed run forgets it
    path.replace(done)
    return done


def md5_of(path: Path) -> str:
    """The MD5 checksum of a file, in hexadecimal; against damage, not against forgery."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _check(path: Path, address: str, md5: str | None) -> None:
    """Refuse and remove a file with another checksum than it should have."""
    if _matches(path, md5):
        return
    found = md5_of(path)
    path.unlink()
    raise DatasetError(
        f"{address}: what came has the MD5 checksum {found}, and {md5} is expected; it was "
        "removed. Start the command again; if that is the same, the file was changed there"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _matches(path: Path, md5: str | None) -> bool:
    return md5 is None or md5_of(path) == md5.lower()


def _go_on(
    address: str, path: Path, room: int, claim: Callable[[], None], *, progress: bool
) -> None:
    """Append to a partial file what is missing of it."""
    have = _size(path)
    request = urllib.request.Request(address, headers={"User-Agent": "gridgate"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
        if total is not None and int(total[1]) == have:
            return  # all of it is here
        path.unlink()  # it is longer than the file there: begin anew
        _go_on(address, path, room, claim, progress=progress)
        return
    with response:
        begin = _begin(response, have)
        length = response.headers.get("Content-Length")
        total_bytes = begin + int(length) if length is not None else None
        claim()
        _check_room(path, int(length or 0) + (room - 1) * (total_bytes or 0))
        try:
            _append(response, path, begin, total_bytes, progress=progress)
        except OSError as error:
            if isinstance(error, _BROKEN):
                raise
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _begin(response: http.client.HTTPResponse, have: int) -> int:
    """Where in the file the answer begins: servers that know no ranges send all of it."""
    if response.status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    if match is None or int(match[1]) != have:
        raise http.client.HTTPException("the server sent another part than was asked for")
    return have


def _append(
    response: http.client.HTTPResponse,
    path: Path,
    begin: int,
    total: int | None,
    *,
    progress: bool,
) -> None:
    doing, shown = f"downloading {path.name.removesuffix('.partial')}", progress and total
    with (
        open(path, "ab" if begin else "wb") as stream,
        Progress(
            max(1, (total or 0) // _MB), doing, unit="MB", initial=begin // _MB, shown=bool(shown)
        ) as bar,
    ):
        done = begin
        while piece := _received(response):
            stream.write(piece)
            done += len(piece)
            bar.move(done // _MB)
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)


def _received(response: http.client.HTTPResponse) -> bytes:
    """The next piece; whatever ends it is the network's fault, and none of the disk's."""
    try:
        return response.read(_PIECE)
    except OSError as error:  # also TLS's, and those of routes that are gone
        if isinstance(error, _BROKEN):
            raise
        raise ConnectionError(str(error.strerror or error)) from error


def _check_room(path: Path, more: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if more + _ROOM > free:
        raise OutputError(
            f"{path}: {more // _MB} MB are still needed, and {free // _MB} MB are free; free "
            "space or give another folder"
        )


def _unreachable(address: str, path: Path, error: BaseException) -> DatasetError:
    have = _size(path)
    kept = f"; {have // _MB} MB of it are kept" if have else ""
    return DatasetError(
        f"{address}: cannot be got ({_reason(error)}){kept}; check the network and the address, "
        "and start the same command again, which goes on where it was"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, http.client.IncompleteRead):
        return f"it ended {error.expected} bytes too early"
    return str(getattr(error, "reason", error)) or type(error).__name__
