"""What a training's folder tells of its starts."""

import json
import sys
from pathlib import Path

import pytest
import torch

from gridgate.data.phantom.dataset import write_phantom_dataset
from gridgate.pipeline.training.folder.provenance import told, typed_command
from gridgate.pipeline.training.folder.run_folder import (
    close_run_folder,
    open_run_folder,
    write_result,
)


@pytest.mark.parametrize(
    ("original", "arguments", "expected"),
    [
        (
            ["/usr/bin/python3", "-m", "monai.bundle", "run", "training", "--output_dir", "my run"],
            ["/lib/monai/bundle/__main__.py", "run", "training", "--output_dir", "my run"],
            "python -m monai.bundle run training --output_dir 'my run'",
        ),
        (
            ["/venv/bin/python", "/venv/bin/gridgate", "train", "B", "D", "O"],
            ["/venv/bin/gridgate", "train", "B", "D", "O"],
            "gridgate train B D O",
        ),
        (["python"], [], "''"),
    ],
)
def test_the_command_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, original: list[str], arguments: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "orig_argv", original)
    monkeypatch.setattr(sys, "argv", arguments)
    assert typed_command() == expected


def test_each_start_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_phantom_dataset(tmp_path / "data", cases=3, progress=False)
    output = tmp_path / "output"
    for epochs in ("3", "5"):
        monkeypatch.setattr(sys, "orig_argv", ["python", "gridgate"])
        monkeypatch.setattr(sys, "argv", ["gridgate", "train", "--epochs", epochs])
        open_run_folder(output, dataset_dir=data, folds=3, settings={}, resume=epochs == "5")
        if epochs == "3":
            write_result(output, "last.pt", lambda stream: stream.write(b"weights"))
        close_run_folder(output)
    starts = json.loads((output / "settings.json").read_text())["starts"]
    assert [start["command"] for start in starts] == [
        "gridgate train --epochs 3",
        "gridgate train --epochs 5",
    ]
    assert all(f"torch {torch.__version__}" in start["machine"]["versions"] for start in starts)
    assert "`gridgate train --epochs 5`" in told(starts[1])
