"""A training on partly annotated cases with voxels to ignore, from dataset.json to its record."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import DatasetError, user_error
from gridgate.data.phantom.phantom import PHANTOM_LABELS

from ...small_bundle import train

LABELS = {**PHANTOM_LABELS, "ignore": 9}


def partial_dataset(phantom: Path, root: Path, *, left: tuple[int, ...]) -> Path:
    """The phantom with the liver alone drawn in three of six cases, and a corner to ignore."""
    shutil.copytree(phantom / "imagesTr", root / "imagesTr")
    (root / "labelsTr").mkdir()
    for number, path in enumerate(sorted((phantom / "labelsTr").iterdir())):
        image = nib.load(path)
        array = np.asarray(image.dataobj).copy()
        if number < 3:
            array[~np.isin(array, left)] = 0
        array[:3, :3, :3] = 9
        nib.save(nib.Nifti1Image(array, image.affine), root / "labelsTr" / path.name)
    content = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "annotated": {f"phantom_00{number}": ["liver"] for number in range(3)},
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_a_training_on_partly_annotated_cases(phantom_dataset: Path, tmp_path: Path) -> None:
    root = partial_dataset(phantom_dataset, tmp_path / "D", left=(1,))
    train(root, tmp_path / "O", epochs=1, iterations_per_epoch=2)
    with open(tmp_path / "O" / "metrics_train.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 10 and row["dice_liver"] != ""


def test_a_label_that_was_not_to_be_there_stops_it(phantom_dataset: Path, tmp_path: Path) -> None:
    root = partial_dataset(phantom_dataset, tmp_path / "D", left=(1, 2))
    with pytest.raises(Exception, match=r".") as caught:
        train(root, tmp_path / "O", epochs=1, iterations_per_epoch=2)
    error = user_error(caught.value)
    assert isinstance(error, DatasetError)
    assert "voxels of spleen (2)" in str(error) and "phantom_00" in str(error)
