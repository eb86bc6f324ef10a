"""Each of these tests starts in a folder of its own."""

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No dataset in the working directory; the hook and path that a run changes are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
