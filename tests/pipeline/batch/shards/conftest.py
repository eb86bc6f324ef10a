"""Ten small scans, and a folder for their masks."""

from pathlib import Path
from typing import Any

import pytest

from ..threshold import write_scan
from .in_turn import NAMES


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    for seed, name in enumerate(NAMES):
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", seed=seed)
    return [{"id": name, "image": str(tmp_path / "scans" / f"{name}.nii.gz")} for name in NAMES]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
