"""What the tests of a training's output folder begin, and look at."""

from pathlib import Path
from typing import Any

from gridgate.pipeline.training.folder.run_folder import (
    open_run_folder,
)

CONFIG: dict[str, Any] = {
    "learning_rate": 0.001,
    "spacing": [2.0, 2.0, 3.0],
    "train::loss::name": "dice_ce",
    "architecture::name": "unet",
    "epochs": 3,
    "patience": 0,
}


def begin(folder: Path, dataset: Path, settings: dict[str, Any] = CONFIG, **options: Any) -> None:
    open_run_folder(folder, dataset_dir=dataset, folds=3, settings=settings, **options)


def names(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".gridgate")
