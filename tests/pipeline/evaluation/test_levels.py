"""Dice at several thresholds from levels: by counting voxels, and as the masks' own measures."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.label_map import LabelMap, Part
from gridgate.pipeline.evaluation.levels import dice_of_levels
from gridgate.pipeline.evaluation.measure import measure_regions

LABELS = ["background", "whole", "core", "other"]
KNOWN = LabelMap(
    {0: 0, 1: 1, 2: 3, 3: 4, 9: -1},
    parts={"other": Part((3,), 3)},
    regions=True,
)


def write(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_dice_is_that_of_each_thresholds_mask(tmp_path: Path) -> None:
    """The label file is flipped and has voxels to ignore; one region was not drawn."""
    draws = np.random.default_rng(1)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    truth = draws.choice([0, 0, 0, 1, 2, 9], size=(8, 9, 7)).astype(np.uint8)
    levels = draws.integers(0, 4, size=(3, 8, 9, 7)).astype(np.uint8)
    flip = affine @ np.array([[-1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    label = write(tmp_path / "label.nii.gz", truth[::-1].copy(), flip)
    files = [write(tmp_path / f"l{i}.nii.gz", one, affine) for i, one in enumerate(levels)]
    told = {"label_map": KNOWN, "case": "a", "unannotated": ["other"]}
    found = dice_of_levels(files, label, LABELS, count=3, **told)  # type: ignore[arg-type]
    counted = truth != 9
    for number, (name, held) in enumerate({"whole": [1, 2], "core": [2]}.items()):
        inside = np.isin(truth, held) & counted
        for place in range(3):
            mask = (levels[number] > place) & counted
            dice = 2 * (mask & inside).sum() / (mask.sum() + inside.sum())
            assert found[name][place] == pytest.approx(dice)
    assert len(found["other"]) == 3 and np.isnan(found["other"]).all()
    masks = [
        write(tmp_path / f"m{i}.nii.gz", (one > 1).astype(np.uint8), affine)
        for i, one in enumerate(levels)
    ]
    rows = measure_regions(masks, label, LABELS, values=[1, 2, 3], **told)  # type: ignore[arg-type]
    assert [row.dice for row in rows] == pytest.approx(
        [found[name][1] for name in LABELS[1:]], nan_ok=True
    )


def test_empty_masks_have_no_dice(tmp_path: Path) -> None:
    levels, nothing = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    levels[1, 1, 1] = 1
    files = [write(tmp_path / f"{i}.nii.gz", one, np.eye(4)) for i, one in enumerate((levels,))]
    label = write(tmp_path / "label.nii.gz", nothing, np.eye(4))
    found = dice_of_levels(
        files, label, ["background", "a"], count=2, label_map=LabelMap({0: 0, 1: 1}), case="a"
    )
    assert found["a"][0] == 0 and np.isnan(found["a"][1])
