"""Fixtures shared by all rooms' tests."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real scans; skips where this checkout has no ../shared beside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real scans are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA
