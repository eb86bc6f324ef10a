"""metrics_train.csv, a row per validation, as it is read again; and how far a training came."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...models.checkpoints import LAST
from .run_folder import METRICS


def read_training_record(output_dir: str | Path) -> list[dict[str, str]]:
    """Rows of a run's metrics_train.csv, or none where there is no such file."""
    path = Path(output_dir) / METRICS
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def epochs_made(output_dir: str | Path, settings: Mapping[str, Any]) -> int:
    """Epochs of a training that has ended: by its last.pt, else by table and settings.

    The table has validations only: the last epochs may have had none.

    Args:
        output_dir: of the training.
        settings: its `epochs`, and its `val_interval` if that is known.
    """
    made = _last_epoch(Path(output_dir) / LAST)
    if made is not None:
        return made
    asked, table = int(settings.get("epochs", 0)), read_training_record(output_dir)
    validated = int(table[-1]["epoch"]) if table else asked
    missed = validated + int(settings.get("val_interval", 1)) <= asked  # it stopped before
    return validated if missed or not asked else asked


def _last_epoch(path: Path) -> int | None:
    """The epoch of a last.pt, whose tensors are left on disk; None where it tells none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(content["epoch"])
    except Exception:  # whatever it is: not there, or no file of ours
        return None
