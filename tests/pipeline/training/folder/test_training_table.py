"""How far a training came, and its table as it is read again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.pipeline.training.folder.training_table import epochs_made, read_training_record

SETTINGS: dict[str, Any] = {"epochs": 25, "val_interval": 4}


def table(folder: Path, *epochs: int) -> None:
    rows = "".join(f"{epoch},{epoch * 80}\n" for epoch in epochs)
    (folder / "metrics_train.csv").write_text(f"epoch,iteration\n{rows}")


@pytest.mark.parametrize(
    ("validated", "settings", "epochs"),
    [
        ((20, 24), SETTINGS, 25),  # the 25th had no validation
        ((20,), SETTINGS, 20),  # stopped early: the 24th would have had one
        ((8, 12), {"epochs": 12, "val_interval": 4}, 12),
        ((), SETTINGS, 25),
        ((8,), {}, 8),
    ],
)
def test_epochs_by_the_table(
    validated: tuple[int, ...], settings: dict[str, Any], epochs: int, tmp_path: Path
) -> None:
    if validated:
        table(tmp_path, *validated)
    assert epochs_made(tmp_path, settings) == epochs
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    assert epochs_made(tmp_path, settings) == epochs


def test_epochs_by_what_the_training_stored_last(tmp_path: Path) -> None:
    """Patience ended it after the 22nd of 25 epochs, two after a validation."""
    table(tmp_path, 16, 20)
    torch.save({"epoch": 22, "network": {"a": torch.zeros(3)}}, tmp_path / "last.pt")
    assert epochs_made(tmp_path, SETTINGS) == 22


def test_the_table_is_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    (tmp_path / "metrics_train.csv").write_bytes("epoch,dice_Schädel\n1,0.5\n".encode())
    assert read_training_record(tmp_path)[0]["dice_Schädel"] == "0.5"
    code = (
        "import sys; from gridgate.pipeline.training.folder.training_table import "
        "read_training_record; assert 'dice_Sch\\u00e4del' in read_training_record(sys.argv[1])[0]"
    )
    there = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=there)
