"""A fit of four coarse phantoms, which several tests look at."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset, write_dataset_json
from gridgate.pipeline.cli.main import main

from .quick_fits import WORDS, known_steps


@pytest.fixture(scope="session")
def coarse_dataset(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each third voxel of four phantoms: a fit of them takes seconds."""
    root = tmp_path_factory.mktemp("data") / "phantom"
    for case in load_dataset(phantom_dataset).cases[:4]:
        assert case.label is not None
        for file in (*case.images, case.label):
            image: Any = nib.load(file)
            voxels = np.asarray(image.dataobj)[::3, ::3, ::3]
            path = root / file.parent.name / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, image.affine @ np.diag([3, 3, 3, 1])), path)
    write_dataset_json(root, "phantom", load_dataset(phantom_dataset).labels, ("CT",), 4)
    return root


@pytest.fixture(scope="session")
def fitted(coarse_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit that nobody stopped; read it only."""
    folder = tmp_path_factory.mktemp("fit") / "fitted"
    with pytest.MonkeyPatch.context() as patch:
        known_steps(patch)
        assert main(["fit", str(coarse_dataset), str(folder), *WORDS]) == 0
    return folder
