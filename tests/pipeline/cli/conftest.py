"""Where the tests of the `gridgate` command run it."""

from pathlib import Path

import monai.bundle  # noqa: F401  # here, as its log handler keeps the stdout of when it is imported
import pytest


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command runs in a folder of its own, and what it sets of the environment is undone."""
    monkeypatch.chdir(tmp_path)
    # set first, so that what main() sets is taken back
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
