"""metrics_train.csv, a row per validation, as it is read again."""

from __future__ import annotations

import csv
from pathlib import Path

from .run_folder import METRICS


def read_training_record(output_dir: str | Path) -> list[dict[str, str]]:
    """Rows of a run's metrics_train.csv, or none where there is no such file."""
    path = Path(output_dir) / METRICS
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
