"""A whole training of the small bundle, which several files' tests look at."""

import shutil
from pathlib import Path

import pytest

from gridgate.pipeline.training.folder import saving as checkpoints

from ...small_bundle import train


@pytest.fixture(scope="session")
def whole(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 3 epochs; its last.pt after each epoch is kept as last_<epoch>.pt."""
    folder = tmp_path_factory.mktemp("whole")
    original = checkpoints.Checkpoints._write

    def keep(self: checkpoints.Checkpoints, name: str, content: dict) -> None:
        original(self, name, content)
        if name == "last.pt":
            shutil.copy(folder / name, folder / f"last_{content['epoch']}.pt")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "_write", keep)
        train(phantom_dataset, folder)
    return folder
