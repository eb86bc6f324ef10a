"""`gridgate cache` lists what trainings have stored, and removes it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.datasets.cache.folder import CaseCache
from gridgate.pipeline.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cases of one dataset, the first not used for ten days, and one of another."""
    cache = CaseCache(tmp_path / "cache")
    for letter, dataset in (("a", "one"), ("b", "one"), ("c", "two")):
        case, _ = cache.store(
            letter * 64,
            lambda: {"image": np.random.default_rng(0).random(20_000)},
            about={"image": f"/data/{dataset}/imagesTr/{letter}.nii.gz", "adds": False},
        )
        more, _ = cache.store(
            letter * 63 + "0",
            lambda: {"n": 1},
            about={"image": f"/data/{dataset}/imagesTr/x.nii", "adds": True},
        )
        if letter == "a":
            os.utime(more.folder / "case.json", (1, 1))
            old = time.time() - 10 * 86_400
            os.utime(case.folder / "case.json", (old, old))
    return cache.folder


def size(folder: Path, letters: str = "abc") -> str:
    """Of the cases whose keys begin so, as the system tells."""
    found = [path for path in folder.glob("cases/*/*/*") if path.parent.name[0] in letters]
    return f"{sum(path.stat().st_size for path in found) / 1e6:.1f} MB"


def test_what_is_stored_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--cache_dir", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: {size(folder)}"
    today = time.strftime("%Y-%m-%d")
    assert lines[1].startswith(f"  /data/one: 2 cases, {size(folder, 'ab')}, last used {today}")
    assert lines[2].startswith("  /data/two: 1 case, 0.") and len(lines) == 3


def test_what_is_old_is_removed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDGATE_CACHE", str(folder))
    old, rest = size(folder, "a"), size(folder, "bc")
    assert main(["cache", "--clear", "--older", "1w"]) == 0
    assert f"{folder}: {old} removed" in capsys.readouterr().out
    assert sorted(path.name[0] for path in folder.glob("cases/*/*")) == ["b", "b", "c", "c"]
    assert main(["cache", "--clear"]) == 0
    assert f"{folder}: {rest} removed" in capsys.readouterr().out
    assert list(folder.glob("cases/*/*")) == []


def test_nothing_is_made_where_nothing_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "--cache_dir", str(tmp_path / "none")]) == 0
    assert "nothing is stored there" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_another_folder_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "cases" / "aa" / "a" / "case.json"
    case.parent.mkdir(parents=True)
    case.write_text("a person's")
    assert main(["cache", "--clear", "--cache_dir", str(tmp_path)]) == 0
    assert "nothing is stored there" in capsys.readouterr().out
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [case]


@pytest.mark.parametrize("age", ["30", "d", "-1d", "nan d", "infd", "3y"])
def test_an_age_that_is_none(age: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--cache_dir", str(folder), f"--older={age}"]) == 1
    assert "12h, 30d, 8w" in capsys.readouterr().err
