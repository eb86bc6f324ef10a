"""Whether the largest piece alone is kept: masks whose Dice is computed by hand."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.pipeline.evaluation.measure import measure_files
from gridgate.pipeline.fitting.choices.components import (
    MeasuredCase,
    choose_components,
    measured_case,
)
from gridgate.pipeline.fitting.choices.masks import CaseMasks, largest_pieces

LABELS = ["background", "liver", "kidneys"]


def write(path: Path, array: np.ndarray, **header: Any) -> Path:
    image = nib.Nifti1Image(array, np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header["descrip"] = b"as the network gave it"
    nib.save(image, path)
    return path


def measured(folder: Path) -> MeasuredCase:
    """A liver with an island that is wrong, and two kidneys that are right."""
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[1:5, 1:5, 1:5] = 1  # 64 voxels
    truth[7:9, 1:3, 1:3] = truth[7:9, 8:10, 1:3] = 2  # 8 each
    mask = truth.copy()
    mask[10:12, 10:12, 10:12] = 1  # 8 more
    mask[7, 8:10, 1] = 0  # 2 fewer of the second kidney
    files = write(folder / "mask.nii.gz", mask), write(folder / "label.nii.gz", truth)
    plain = {row.label: row for row in measure_files(*files, LABELS)}
    masks, label = CaseMasks(files[0]), files[1]
    return measured_case("a", masks, label, plain, labels=LABELS, label_map={})


def test_the_largest_piece_is_kept_where_the_dice_says_so(tmp_path: Path) -> None:
    case = measured(tmp_path)
    liver, kidneys = choose_components([case], LABELS)
    assert (liver.plain, liver.largest) == pytest.approx((2 * 64 / (64 + 72), 1.0))
    assert (kidneys.plain, kidneys.largest) == pytest.approx((2 * 14 / 30, 2 * 8 / 24))
    assert liver.keep and not kidneys.keep
    assert [row.dice for row in case.with_largest(["liver"])] == pytest.approx([1.0, 28 / 30])
    assert "largest piece kept" in str(liver) and "all pieces kept" in str(kidneys)


def test_a_mask_loses_islands_and_nothing_else(tmp_path: Path) -> None:
    mask = measured(tmp_path).masks.mask
    before = np.asarray(nib.load(mask).dataobj)  # type: ignore[attr-defined]
    lost = np.argwhere(before != largest_pieces(before, [1]))
    assert len(lost) == 8 and lost.min() == 10


def test_without_a_difference_all_pieces_are_kept(tmp_path: Path) -> None:
    case = measured(tmp_path)
    same = MeasuredCase("a", case.masks, case.label, (), case.metrics, {})
    assert not any(choice.keep for choice in choose_components([same], LABELS))
