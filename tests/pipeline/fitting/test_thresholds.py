"""Thresholds and pieces chosen together: evaluations made by hand, Dice counted by numpy."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from gridgate.data.datasets.label_map import label_map
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.evaluation.measure import measure_files, measure_regions
from gridgate.pipeline.evaluation.results import write_results
from gridgate.pipeline.fitting.choices.masks import TRIED, remove_levels
from gridgate.pipeline.fitting.choices.thresholds import ThresholdChoice, choose_thresholds
from gridgate.pipeline.fitting.cross_validation import cross_validate
from gridgate.pipeline.fitting.outcome import write_cross_validation
from gridgate.pipeline.plans.plan import Plan, example_plan

NAMES = ["whole", "core"]
TABLE = "case,input,output,status,reason\n"
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.uint8), AFFINE), path)
    return path


def chances(case: int) -> np.ndarray:
    """(2, 16, 12, 10): smooth; the core has an island, sure and wrong, in a corner."""
    noise = np.random.default_rng(case).normal(size=(2, 16, 12, 10))
    smooth = np.stack([ndimage.gaussian_filter(one, 2.5) for one in noise])
    found = 1 / (1 + np.exp(-6 * smooth / smooth.std()))
    found[1, :5] = 0.01
    found[1, 0, 0, 0] = 0.99
    found[1, 8:14, 4:9, 3:8] = 0.9
    return found


def truths(case: int) -> np.ndarray:
    """What is above 0.3 of the whole, and the largest piece above a half of the core."""
    above = chances(case) > np.array([0.3, 0.5])[:, None, None, None]
    pieces, _ = ndimage.label(above[1], np.ones((3, 3, 3)))
    largest = pieces == 1 + np.bincount(pieces[pieces > 0])[1:].argmax()
    return np.stack([above[0] | largest, largest])


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Plan]:
    """A dataset of four cases, and two evaluations of two each, as a network leaves them."""
    root = tmp_path_factory.mktemp("cv")
    dataset = root / "D"
    for case in range(4):
        whole, core = truths(case)
        save(dataset / "imagesTr" / f"c{case}.nii.gz", np.zeros(whole.shape))
        save(dataset / "labelsTr" / f"c{case}.nii.gz", np.where(core, 2, whole))
    content: dict[str, Any] = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    content["labels"] = {"background": 0, "whole": [1, 2], "core": [2]}
    content["regions_class_order"] = [1, 2]
    (dataset / "dataset.json").write_text(json.dumps(content))
    plan = Plan.from_dict({**example_plan(), "labels": ["background", *NAMES]})
    plan = plan.replace(region_values=[1, 2])
    known = label_map(dataset, labels=plan.labels, region_values=[1, 2])
    folders = [root / "runs" / "net" / f"fold_{fold}_cases" for fold in (0, 1)]
    for fold, folder in enumerate(folders):
        rows = []
        for case in (fold, fold + 2):
            name, found = f"c{case}.nii.gz", chances(case)
            save(folder / name, np.where(found[1] > 0.5, 2, found[0] > 0.5))
            masks = []
            with OutputFolder(folder) as output:
                for label, chance in zip(NAMES, found, strict=True):
                    masks.append(save(folder / "regions" / label / name, chance > 0.5))
                    level = sum((chance > one).astype(int) for one in TRIED)
                    save(folder / "levels" / label / name, np.asarray(level))
                    output.record(f"levels/{label}/{name}")
            told: dict[str, Any] = {"label_map": known, "case": f"c{case}", "values": [1, 2]}
            label_file = dataset / "labelsTr" / name
            rows += [
                (f"c{case}", row) for row in measure_regions(masks, label_file, plan.labels, **told)
            ]
        table = TABLE + "".join(f"c{case},x,c{case}.nii.gz,ok,\n" for case in (fold, fold + 2))
        (folder / "cases.csv").write_text(table)
        with OutputFolder(folder) as output:
            write_results(output, rows, failed={}, checkpoint="x")
    return dataset, folders, plan


def counted(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


def test_thresholds_and_pieces_are_those_of_the_highest_dice(
    regions: tuple[Path, list[Path], Plan], tmp_path: Path
) -> None:
    dataset, folders, plan = regions
    found = cross_validate("net", plan, dataset, folders)
    for number, choice in enumerate(found.tried):
        for place, threshold in enumerate(TRIED):
            each = [counted(chances(c)[number] > threshold, truths(c)[number]) for c in range(4)]
            assert choice.dice[place] == pytest.approx(np.mean(each))
    assert found.thresholds == [0.3, 0.5]
    assert found.plan.thresholds is None and found.keep_largest == [2]
    assert found.smallest_piece is None  # the core is drawn in one piece: none is too small
    write_cross_validation(found, tmp_path, checkpoint="x")
    for case in range(4):
        whole, core = chances(case)[0] > 0.3, truths(case)[1]
        for label, mask in zip(NAMES, (whole, core), strict=True):
            file = tmp_path / "regions" / label / f"c{case}.nii.gz"
            np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj) == 1, mask)
        written = np.asarray(nib.load(tmp_path / f"c{case}.nii.gz").dataobj)
        np.testing.assert_array_equal(written, np.where(core, 2, whole))
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        case, number = int(row["case"][1:]), NAMES.index(row["label"])
        mask = chances(case)[0] > 0.3 if number == 0 else truths(case)[1]
        assert float(row["dice"]) == pytest.approx(counted(mask, truths(case)[number]))
        assert int(row["value"]) == number + 1
    assert len(rows) == 8
    assert [text.partition(" (")[0] for text in found.said] == [
        "whole: threshold 0.3",
        "core: threshold 0.5",
        "whole: all pieces kept",
        "core: largest piece kept",
    ]


def test_levels_are_removed_and_nothing_else(regions: tuple[Path, list[Path], Plan]) -> None:
    dataset, folders, plan = regions
    foreign = folders[0] / "levels" / "mine.txt"
    foreign.write_text("of a person")
    before = {path for path in folders[0].rglob("*") if "levels" not in path.parts}
    remove_levels(folders[0].parents[1])
    assert list((folders[0] / "levels").rglob("*")) == [foreign]
    assert not (folders[1] / "levels").exists()
    after = {path for path in folders[0].rglob("*") if "levels" not in path.parts}
    assert {path for path in before if ".gridgate" not in path.parts} <= after
    without = cross_validate("net", plan, dataset, folders)
    assert without.thresholds is None and not without.tried  # none is chosen of none
    assert without.smallest_piece is None and without.keep_largest == [2]
    asked = cross_validate("net", plan.replace(smallest_piece={"core": 0.05}), dataset, folders)
    assert asked.smallest_piece == {"core": 0.05}  # the plan's is tried: as good, it removes less
    told = cross_validate("net", plan.replace(smallest_piece={"core": 1e-6}), dataset, folders)
    assert told.smallest_piece is None and told.keep_largest == [2]  # the plan's is what is tried


def test_the_one_label_of_a_single_channel(tmp_path: Path) -> None:
    """Its mask is the map; levels as for a region."""
    plan = Plan.from_dict({**example_plan(), "output_channels": 1})
    chance, truth = chances(0)[0], chances(0)[0] > 0.7
    dataset, folder = tmp_path / "D", tmp_path / "fold"
    save(dataset / "imagesTr" / "a.nii.gz", np.zeros(truth.shape))
    label = save(dataset / "labelsTr" / "a.nii.gz", truth)
    content: dict[str, Any] = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    content["labels"] = {"background": 0, "liver": 1}
    (dataset / "dataset.json").write_text(json.dumps(content))
    mask = save(folder / "a.nii.gz", chance > 0.5)
    save(folder / "levels" / "liver" / "a.nii.gz", sum((chance > t).astype(int) for t in TRIED))  # type: ignore[arg-type]
    (folder / "cases.csv").write_text(TABLE + "a,x,a.nii.gz,ok,\n")
    rows = [("a", row) for row in measure_files(mask, label, plan.labels)]
    with OutputFolder(folder) as output:
        write_results(output, rows, failed={}, checkpoint="x")
    found = cross_validate("net", plan, dataset, [folder])
    assert found.thresholds == [0.7] and found.dice == pytest.approx(1.0)
    write_cross_validation(found, tmp_path / "out", checkpoint="x")
    written = np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(written == 1, truth)


@pytest.mark.parametrize(
    ("dice", "threshold"),
    [
        ([0.1, 0.8009, 0.8, 0.7, 0.1], 0.5),  # too little is gained
        ([0.1, 0.8011, 0.8, 0.7, 0.1], 0.4),
        ([0.9, 0.9, 0.8, 0.9, 0.9], 0.4),  # of equal ones one nearest to a half
        ([np.nan] * 5, 0.5),
    ],
)
def test_a_half_is_left_for_a_gain(dice: list[float], threshold: float) -> None:
    assert ThresholdChoice("a", dice).threshold == threshold


def test_cases_without_a_measure_do_not_count() -> None:
    nothing = [np.nan] * 5
    (choice,) = choose_thresholds(
        [{"a": [0.1, 0.2, 0.3, 0.4, 0.5]}, {"a": nothing}], ["background", "a"]
    )
    assert choice.dice == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]) and choice.threshold == 0.7
