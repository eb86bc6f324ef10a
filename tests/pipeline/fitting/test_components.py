"""Which pieces are kept: masks whose Dice is computed by hand."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.label_map import LabelMap
from gridgate.pipeline.evaluation.measure import measure_files
from gridgate.pipeline.fitting.choices.components import (
    MeasuredCase,
    choose_components,
    measured_case,
)
from gridgate.pipeline.fitting.choices.masks import ALL, LARGEST, CaseMasks, with_pieces
from gridgate.pipeline.fitting.choices.piece_volumes import piece_candidates, piece_volumes

LABELS = ["background", "liver", "kidneys"]
VOXEL = 0.002  # ml


def write(path: Path, array: np.ndarray, **header: Any) -> Path:
    image = nib.Nifti1Image(array, np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header["descrip"] = b"as the network gave it"
    nib.save(image, path)
    return path


def measured(
    folder: Path, candidates: dict[str, list[float]] | None = None, speck: int = 0
) -> MeasuredCase:
    """A liver with an island that is wrong, and two kidneys that are right.

    Args:
        speck: voxels of a third piece of the kidneys, which is wrong.
    """
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[1:5, 1:5, 1:5] = 1  # 64 voxels
    truth[7:9, 1:3, 1:3] = truth[7:9, 8:10, 1:3] = 2  # 8 each
    mask = truth.copy()
    mask[10:12, 10:12, 10:12] = 1  # 8 more
    mask[7, 8:10, 1] = 0  # 2 fewer of the second kidney
    mask[0, 0, 12 - speck :] = 2
    files = write(folder / "mask.nii.gz", mask), write(folder / "label.nii.gz", truth)
    plain = {row.label: row for row in measure_files(*files, LABELS)}
    told: dict[str, Any] = {"labels": LABELS, "label_map": {}, "candidates": candidates}
    return measured_case("a", CaseMasks(files[0]), files[1], plain, **told)


def test_what_somebody_said_of_the_largest_piece_is_not_chosen(tmp_path: Path) -> None:
    case = measured(tmp_path)
    for largest in (set(), {"kidneys"}, {"liver", "kidneys"}):
        choices = choose_components([case], LABELS, largest=largest)
        kept = {choice.label for choice in choices if choice.smallest == LARGEST}
        assert kept == largest and all(str(choice) for choice in choices)


def test_the_largest_piece_is_kept_where_the_dice_says_so(tmp_path: Path) -> None:
    case = measured(tmp_path)
    liver, kidneys = choose_components([case], LABELS)
    assert (liver.dice[ALL], liver.dice[LARGEST]) == pytest.approx((2 * 64 / (64 + 72), 1.0))
    assert (kidneys.dice[ALL], kidneys.dice[LARGEST]) == pytest.approx((2 * 14 / 30, 2 * 8 / 24))
    assert (liver.smallest, kidneys.smallest) == (LARGEST, ALL)
    assert [row.dice for row in case.with_pieces({"liver": LARGEST})] == pytest.approx(
        [1.0, 28 / 30]
    )
    assert "largest piece kept" in str(liver) and "all pieces kept" in str(kidneys)


def test_small_pieces_are_removed_where_the_dice_says_so(tmp_path: Path) -> None:
    """The kidneys lose a speck of 3 voxels; of 7 voxels and more they would lose the second one."""
    candidates = {"kidneys": [4 * VOXEL, 7 * VOXEL], "liver": [8.5 * VOXEL]}
    case = measured(tmp_path, candidates, speck=3)
    liver, kidneys = choose_components([case], LABELS, candidates)
    wanted = [2 * 14 / 33, 2 * 14 / 30, 2 * 8 / 24, 2 * 8 / 24]
    assert [kidneys.dice[one] for one in sorted(kidneys.dice)] == pytest.approx(wanted)
    assert kidneys.smallest == 4 * VOXEL
    assert liver.smallest == 8.5 * VOXEL  # as good as the largest alone, and removes less
    chosen = {"kidneys": 4 * VOXEL, "liver": 8.5 * VOXEL}
    assert [row.dice for row in case.with_pieces(chosen)] == pytest.approx([1.0, 28 / 30])
    assert str(kidneys).startswith("kidneys: pieces below 0.008 ml removed (mean Dice 0.8485 with")


def test_candidates_are_told_by_the_pieces_that_were_drawn(tmp_path: Path) -> None:
    drawn = np.zeros((12, 12, 12), np.uint8)
    drawn[0, 0, :4] = drawn[2, 2:4, 0] = 1  # pieces of 4 and 2 voxels
    drawn[6:10, 6:11, 6:11] = 2  # 100
    label = write(tmp_path / "label.nii.gz", np.where(drawn == 0, 9, drawn).astype(np.uint8))
    known = LabelMap({1: 1, 2: 2, 9: -1})
    found = piece_volumes(label, LABELS, label_map=known, case="a")
    assert sorted(found["liver"]) == pytest.approx([2 * VOXEL, 4 * VOXEL])
    assert found["kidneys"] == pytest.approx([100 * VOXEL])
    regions = LabelMap({0: 0, 1: 1, 2: 3, 9: 0}, regions=True)
    inside = piece_volumes(label, LABELS, label_map=regions, case="a")
    assert len(inside["liver"]) == 3 and inside["kidneys"] == pytest.approx([100 * VOXEL])
    candidates = piece_candidates([found, {"kidneys": [0.3, 0.9]}])
    assert candidates == {"liver": [0.002], "kidneys": [0.1]}  # half of 2 voxels, and of 0.2 ml


def test_the_only_piece_of_a_small_organ_is_never_in_question() -> None:
    """A spleen of 80 ml is a spleen, though those seen so far have 120 ml and more."""
    seen = [{"spleen": [120.0], "nodes": [4.0, 1.0]}, {"spleen": [300.0], "nodes": []}]
    assert piece_candidates(seen) == {"spleen": [], "nodes": [0.5]}


def test_a_mask_loses_islands_and_nothing_else(tmp_path: Path) -> None:
    (before,) = measured(tmp_path).masks.read()
    for smallest in (LARGEST, 9 * VOXEL):
        (after,) = with_pieces([before], {1: smallest}, regions=False)
        lost = np.argwhere(before.array != after.array)
        assert len(lost) == 8 and lost.min() == 10
    (same,) = with_pieces([before], {1: 8 * VOXEL}, regions=False)
    np.testing.assert_array_equal(same.array, before.array)


def test_without_a_difference_all_pieces_are_kept(tmp_path: Path) -> None:
    case = measured(tmp_path)
    same = MeasuredCase("a", case.masks, case.label, (), case.metrics, {})
    assert all(choice.smallest == ALL for choice in choose_components([same], LABELS))
