"""A folder of stored cases: whole or not at all, whatever happens to it."""

import errno
import hashlib
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridgate.data.datasets.cache import content, stored_case
from gridgate.data.datasets.cache.folder import BusyError, CaseCache, user_cache
from gridgate.data.errors import DatasetError, OutputError

KEY, OTHER = "ab" + "0" * 62, "cd" + "1" * 62
CASE = {"image": np.arange(5000, dtype=np.float32), "n": 3}
FORKS = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)


@pytest.fixture
def cache(tmp_path: Path) -> CaseCache:
    return CaseCache(tmp_path / "cache")


def files(cache: CaseCache) -> set[str]:
    """All but locks."""
    found = (path.relative_to(cache.folder) for path in cache.folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != "locks"}


def store(cache: CaseCache, key: str = KEY, case: dict[str, Any] = CASE) -> bool:
    return cache.store(key, lambda: case, about={})[1]


def test_a_case_is_made_once(cache: CaseCache) -> None:
    assert cache.get(KEY) is None
    assert store(cache) and not store(cache)
    found = CaseCache(cache.folder).get(KEY)
    assert found is not None
    assert np.array_equal(found.read()["image"], CASE["image"]) and found.read()["n"] == 3


@pytest.mark.parametrize("name", ["case.json", "array_0.b2nd"])
@pytest.mark.parametrize("harm", ["a bit", "cut", "gone", "longer"])
def test_damage_is_said_and_mended(
    name: str, harm: str, cache: CaseCache, caplog: pytest.LogCaptureFixture
) -> None:
    store(cache)
    path = cache.folder / "cases" / KEY[:2] / KEY / name
    right = path.read_bytes()
    wrong = bytearray(right)
    wrong[len(wrong) // 2] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"a bit": wrong, "cut": right[:-1], "longer": right + b"x"}[harm])
    assert cache.get(KEY) is None
    assert "is damaged" in caplog.text and KEY in caplog.text and name in caplog.text
    assert store(cache) and path.read_bytes() == right
    assert cache.get(KEY) is not None


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    cache: CaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, OTHER)
    before = files(cache)

    def full(path: Path, content: bytes, _write: Callable[..., Any] = stored_case._write) -> Any:
        if path.name == "case.json":
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _write(path, content)

    monkeypatch.setattr(stored_case, "_write", full)
    with pytest.raises(OutputError, match=r"No space left.*--cache_dir.*GRIDGATE_CACHE"):
        store(cache)
    assert files(cache) == before
    assert not (cache.folder / "cases" / KEY[:2] / KEY).exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be stored here"):
        CaseCache(tmp_path / "file" / "cache")


def test_what_fails_is_not_stored(cache: CaseCache) -> None:
    before = files(cache)
    with pytest.raises(ZeroDivisionError):
        cache.store(KEY, lambda: {"a": 1 // 0}, about={})
    assert files(cache) == before and store(cache)


def _die_in_the_middle(folder: Path) -> None:
    def half(path: Path, content: bytes) -> Any:
        path.write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), 9)

    stored_case._write = half  # type: ignore[assignment]
    CaseCache(folder).store(KEY, lambda: CASE, about={})


@FORKS
def test_a_killed_process_leaves_what_the_next_one_tidies(cache: CaseCache) -> None:
    store(cache, OTHER)
    before = files(cache)
    child = multiprocessing.get_context("fork").Process(
        target=_die_in_the_middle, args=(cache.folder,)
    )
    child.start()
    child.join()
    assert child.exitcode == -9 and len(files(cache)) == len(before) + 1
    assert cache.get(KEY) is None and len(list(cache.cases())) == 1
    assert store(cache)
    assert all("gridgate-part" not in name for name in files(cache))
    assert len(list(cache.cases())) == 2


def _count(folder: Path, marks: Path, start: Any) -> None:
    def make() -> dict[str, Any]:
        (marks / f"{os.getpid()}").touch()
        time.sleep(0.2)
        return CASE

    start.wait()
    found, _ = CaseCache(folder).store(KEY, make, about={})
    assert np.array_equal(found.read()["image"], CASE["image"])


@FORKS
def test_processes_that_start_together_make_a_case_once(cache: CaseCache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    marks, start = tmp_path / "marks", context.Event()
    marks.mkdir()
    children = [context.Process(target=_count, args=(cache.folder, marks, start)) for _ in range(4)]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert len(list(marks.iterdir())) == 1


def test_whoever_does_not_wait_is_told(cache: CaseCache) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        begun.set()
        assert go_on.wait(10)
        return CASE

    thread = threading.Thread(target=lambda: cache.store(KEY, slow, about={}))
    thread.start()
    assert begun.wait(10)
    with pytest.raises(BusyError):
        CaseCache(cache.folder).store(KEY, lambda: pytest.fail("made twice"), about={}, wait=False)
    assert cache.clear() == (0, 0)
    go_on.set()
    thread.join()
    assert cache.get(KEY) is not None


def test_only_our_own_files_are_removed(cache: CaseCache, tmp_path: Path) -> None:
    foreign = [cache.folder / "notes.txt", cache.folder / "cases" / "mine.nii.gz"]
    foreign += [cache.folder / "content" / "list.json", cache.folder / "cases" / "zz" / "x" / "a"]
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"1")
    os.utime(scan, (1, 1))
    cache.content_of(scan)
    store(cache)
    store(cache, OTHER)
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a person's")
    count, size = cache.clear()
    assert count == 2 and size > 0
    assert files(cache) == {str(p.relative_to(cache.folder)) for p in foreign} | {"CACHEDIR.TAG"}


def test_a_strangers_file_among_a_cases_own_stays(cache: CaseCache) -> None:
    store(cache)
    place = cache.folder / "cases" / KEY[:2] / KEY
    (place / "notes.txt").write_text("a person's")
    with pytest.raises(OutputError):
        cache.clear()
    assert (place / "notes.txt").read_text() == "a person's"


def test_what_was_used_lately_stays(cache: CaseCache) -> None:
    store(cache)
    store(cache, OTHER)
    old = cache.folder / "cases" / KEY[:2] / KEY / "case.json"
    os.utime(old, (1000, 1000))
    assert cache.clear(unused_since=2000)[0] == 1
    assert [case.folder.name for case, _ in cache.cases()] == [OTHER]
    os.utime(next(cache.cases())[0].folder / "case.json", (1000, 1000))
    assert cache.get(OTHER) is not None  # is a use
    assert cache.clear(unused_since=2000)[0] == 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"GRIDGATE_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/gridgate"),
        ({"XDG_CACHE_HOME": "not/absolute"}, "/home/x/.cache/gridgate"),
        ({}, "/home/x/.cache/gridgate"),
    ],
)
def test_where_a_users_cases_are(
    given: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRIDGATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/x", **given}.items():
        monkeypatch.setenv(name, value)
    assert user_cache() == Path(wanted)


def old(path: Path, content: bytes, *, seconds: float = 1000.0) -> Path:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return path


def test_content_is_hashed_once_and_again_when_a_file_changes(
    cache: CaseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = old(tmp_path / "a.nii.gz", b"one")
    assert cache.content_of(scan) == hashlib.sha256(b"one").hexdigest()
    link = tmp_path / "link.nii.gz"
    link.symlink_to(scan)
    with monkeypatch.context() as patch:
        patch.setattr(content, "_sha256", lambda path: pytest.fail("hashed again"))
        assert cache.content_of(scan) == cache.content_of(link)  # the link's target counts
    old(scan, b"two", seconds=2000.0)  # of the same size
    assert cache.content_of(link) == hashlib.sha256(b"two").hexdigest()
    other = old(tmp_path / "b.nii.gz", b"three")
    link.unlink()
    link.symlink_to(other)
    assert cache.content_of(link) == hashlib.sha256(b"three").hexdigest()


def test_a_file_that_has_just_changed_is_hashed_again(cache: CaseCache, tmp_path: Path) -> None:
    now = time.time()
    scan = old(tmp_path / "a.nii.gz", b"one", seconds=now)
    assert cache.content_of(scan) == hashlib.sha256(b"one").hexdigest()
    old(scan, b"two", seconds=now)  # of the same size and time
    assert cache.content_of(scan) == hashlib.sha256(b"two").hexdigest()


def test_all_files_of_an_image_count(cache: CaseCache, tmp_path: Path) -> None:
    header = old(
        tmp_path / "a.mhd",
        b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
        b"ElementDataFile = a.raw\n",
    )
    old(tmp_path / "a.raw", bytes(8))
    first = cache.content_of(header)
    old(tmp_path / "a.raw", bytes(7) + b"1", seconds=3000.0)
    assert cache.content_of(header) != first


def test_a_file_that_is_not_there_is_named(cache: CaseCache, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(DatasetError, match=r"none\.nii\.gz: cannot be read"):
        cache.content_of(tmp_path / "none.nii.gz")
