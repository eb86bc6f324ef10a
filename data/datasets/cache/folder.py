"""A folder of stored cases: one writer per case at a time, whole cases only, damage noticed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import OutputError
from ...files import is_temporary, temporary_name
from .content import content_of, is_record
from .stored_case import LISTING, StoredCase, is_ours, write_case

logger = logging.getLogger(__name__)

VARIABLE = "GRIDGATE_CACHE"
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"  # what programs for backups look for
    "# Preprocessed cases of gridgate's trainings. They are made again when they are gone.\n"
)


def user_cache() -> Path:
    """Where a user's cases are stored: $GRIDGATE_CACHE, else gridgate in the user's cache folder.

    The user's cache folder is $XDG_CACHE_HOME, else ~/.cache.

    Raises:
        OutputError: the user has no home.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if base and os.path.isabs(base):
        return Path(base) / "gridgate"
    try:
        return Path.home() / ".cache" / "gridgate"
    except RuntimeError as error:
        raise OutputError(
            "preprocessed cases are to be stored, but the user has no home folder; give a "
            f"--cache_dir, or set the variable {VARIABLE}"
        ) from error


def is_cache(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is one that a CaseCache has made."""
    try:
        return (Path(folder) / _TAG).read_text(encoding="utf-8") == _TAG_TEXT
    except (OSError, ValueError):
        return False


class BusyError(Exception):
    """Another process or thread is making the case."""


class CaseCache:
    """Preprocessed cases in a folder, each under a key that tells its content and settings.

    Several processes may use one folder at the same time. A case appears complete or not at all.
    `cases/<2 letters>/<key>` holds one case, `content/` the hashes of the datasets' files, `locks/`
    the locks. Nothing else that lies there is changed.

    Args:
        folder: made if absent.

    Raises:
        OutputError: it cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._locks = self.folder / "locks"
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            if not (self.folder / _TAG).exists():
                (self.folder / _TAG).write_text(_TAG_TEXT, encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error

    def content_of(self, image: str | Path) -> str:
        """A hash of an image's files, see `content.content_of`."""
        return content_of(image, records=self.folder / "content")

    def get(self, key: str) -> StoredCase | None:
        """The case, all its files checked; None where there is none, or a damaged one."""
        case = StoredCase(self._place(key))
        if not case.folder.is_dir():
            return None
        why = case.why_damaged()
        if why is not None:
            logger.warning(f"{case.folder}: this stored case is damaged ({why}); it is made again")
            return None
        with suppress(OSError):
            os.utime(case.folder / LISTING)  # when it was last used
        return case

    def store(
        self,
        key: str,
        make: Callable[[], Mapping[str, Any]],
        *,
        about: Mapping[str, Any],
        wait: bool = True,
    ) -> tuple[StoredCase, bool]:
        """The case as another process has stored it meanwhile, or else as `make` makes it.

        Args:
            make: gives what `write_case` takes.
            about: see `write_case`.
            wait: for another process that is making the same case.

        Returns:
            The case, and whether it was made here.

        Raises:
            BusyError: another process is making it, and `wait` is False.
            OutputError: it cannot be written; nothing half-written stays.
        """
        with self._locked(key, wait):
            found = self.get(key)
            if found is not None:
                return found, False
            place = self._place(key)
            self._remove_parts(place.parent)
            case = make()
            beside = place.with_name(temporary_name(place.name))
            try:
                self._remove(place)
                beside.mkdir(parents=True)
                write_case(beside, case, about=about)
                self._rename(beside, place)
            except OSError as error:
                raise self._refused(error) from error
            finally:
                with suppress(OSError):
                    self._remove(beside)
            return StoredCase(place), True

    def cases(self) -> Iterator[tuple[StoredCase, float]]:
        """Each stored case, and when it was last used, in seconds since 1970."""
        for listing in sorted((self.folder / "cases").glob(f"??/*/{LISTING}")):
            with suppress(OSError):
                if not is_temporary(listing.parent.name):
                    yield StoredCase(listing.parent), listing.stat().st_mtime

    def clear(self, *, unused_since: float | None = None) -> tuple[int, int]:
        """Remove stored cases; those that are being made now stay.

        Args:
            unused_since: seconds since 1970: what was used later stays.

        Returns:
            How many were removed, and their size in bytes.

        Raises:
            OutputError: the system refuses.
        """
        count = size = 0
        for case, used in list(self.cases()):
            if unused_since is not None and used > unused_since:
                continue
            try:
                with self._locked(case.folder.name, wait=False):
                    before = case.bytes
                    self._remove(case.folder)
                    self._remove_parts(case.folder.parent)
            except BusyError:
                continue
            except OSError as error:
                raise self._refused(error) from error
            count, size = count + 1, size + before
        if unused_since is None:
            self._remove_records()
        return count, size

    def _place(self, key: str) -> Path:
        return self.folder / "cases" / key[:2] / key

    @contextmanager
    def _locked(self, key: str, wait: bool) -> Iterator[None]:
        """Hold the lock of all keys that begin alike."""
        lock = FileLock(self._locks / f"{key[:2]}.lock", thread_local=False)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise BusyError(key) from None
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", None) in (13, 28, 30):  # refused, full, read-only
                raise self._refused(error) from error
            logger.warning(
                f"{self.folder}: this file system has no locks ({error}); trainings that start at "
                "the same time may do the same work"
            )
        try:
            yield
        finally:
            lock.release()

    def _rename(self, beside: Path, place: Path) -> None:
        try:
            os.rename(beside, place)
        except OSError:
            if StoredCase(place).why_damaged() is not None:  # no other process has been faster
                raise

    def _remove_parts(self, shelf: Path) -> None:
        """Remove what killed processes left half-written, for whoever holds the shelf's lock."""
        with suppress(OSError):
            for folder in [one for one in shelf.iterdir() if is_temporary(one.name)]:
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Remove a case's folder; a stranger's file in it stays, and is an error."""
        if not folder.is_dir():
            return
        names = sorted(os.listdir(folder), key=lambda name: name != LISTING)
        for name in filter(is_ours, names):  # case.json first: without it there is no case
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()

    def _remove_records(self) -> None:
        with suppress(OSError):
            for name in filter(is_record, os.listdir(self.folder / "content")):
                (self.folder / "content" / name).unlink(missing_ok=True)

    def _refused(self, error: BaseException) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(
            f"{self.folder}: preprocessed cases cannot be stored here ({reason}); free space, or "
            f"give another folder: --cache_dir or the variable {VARIABLE}"
        )
