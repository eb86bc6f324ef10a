"""What a stored case's key depends on."""

import shutil
from pathlib import Path

import pytest

from gridgate.pipeline.training.windows import key


def test_the_key_changes_with_any_code_that_preprocesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(key.__file__).resolve().parents[3]
    for room in ("data", "transforms"):
        shutil.copytree(root / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    place = tmp_path / "pipeline/training/windows/key.py"
    monkeypatch.setattr(key, "__file__", str(place))
    plain = key.code_hash.__wrapped__
    before = plain()
    assert before == plain() and len(before) == 64
    changed = tmp_path / "transforms/resample.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "# other\n", encoding="utf-8")
    after = plain()
    assert after != before
    (tmp_path / "data/images/formats/new.py").touch()
    assert plain() not in (before, after)


def test_the_code_counts_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key.hashed(key.settings_of([]))
    monkeypatch.setattr(key, "code_hash", lambda: "other")
    assert key.hashed(key.settings_of([])) != before
