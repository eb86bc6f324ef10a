"""A small dataset, and a folder with a training of it."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.pipeline.training.folder.run_folder import (
    close_run_folder,
    write_result,
)

from .runs import begin


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of six cases of a few voxels."""
    root = tmp_path / "D"
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for index in range(6):
        shape = (4, 4, 4 + index)
        for part, kind in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
            image = nib.Nifti1Image(np.zeros(shape, kind), np.eye(4))
            nib.save(image, root / part / f"c{index}.nii")
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 6,
        "file_ending": ".nii",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def trained(tmp_path: Path, dataset: Path) -> Path:
    """A folder with a training of CONFIG that has ended."""
    folder = tmp_path / "O"
    begin(folder, dataset)
    for name in ("last.pt", "models/model.pt", "metrics_train.csv"):
        write_result(folder, name, lambda stream: stream.write(b"content"))
    close_run_folder(folder)
    return folder
