"""What a cross-validation leaves: links that resolve, and a table that is true of its masks."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import DatasetError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.evaluation.measure import measure_files
from gridgate.pipeline.evaluation.results import write_results
from gridgate.pipeline.fitting import fit as fitting
from gridgate.pipeline.fitting import outcome
from gridgate.pipeline.fitting.candidate import Candidate
from gridgate.pipeline.fitting.cross_validation import CrossValidation, cross_validate
from gridgate.pipeline.fitting.fit import Fit
from gridgate.pipeline.fitting.lengths import Lengths
from gridgate.pipeline.fitting.outcome import write_cross_validation
from gridgate.pipeline.fitting.record import FitRecord
from gridgate.pipeline.fitting.request import FitRequest
from gridgate.pipeline.plans.plan import Plan, example_plan

LABELS = ["background", "liver", "spleen"]
VOXEL_ML = 0.002
COLUMNS = "case,input,output,status,reason,hint_count,hints,margin,total_s"
OF_LABELS = ",".join(f"{one}_voxels,{one}_ml,{one}_hu" for one in LABELS[1:])


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.uint8), np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def cross_validation(root: Path, **told: Any) -> CrossValidation:
    """Case a has a piece of liver that is wrong, and loses it; b stays as it is."""
    plan = Plan.from_dict({**example_plan(), "labels": LABELS})
    dataset, folder = root / "D", root / "runs" / "fold_0_cases"
    truth = np.zeros((12, 12, 12))
    truth[1:5, 1:5, 1:5] = 1  # 64 voxels
    truth[6:8, 6:8, 6:8] = 2  # 8
    masks = {"a": truth.copy(), "b": truth}
    masks["a"][10:12, 10:12, 10:12] = 1  # 8 more
    rows, table = [], [f"{COLUMNS},{OF_LABELS}\n"]
    for case, mask in masks.items():
        save(dataset / "imagesTr" / f"{case}.nii.gz", np.zeros(truth.shape))
        label = save(dataset / "labelsTr" / f"{case}.nii.gz", truth)
        file = save(folder / f"{case}.nii.gz", mask)
        rows += [(case, row) for row in measure_files(file, label, LABELS)]
        liver = int((mask == 1).sum())
        numbers = f"{liver},{liver * VOXEL_ML},55.5,8,{8 * VOXEL_ML},44.4"
        table.append(f"{case},x,{case}.nii.gz,ok,,1,liver: 2 pieces,0.3,7.5,{numbers}\n")
    content: dict[str, Any] = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    content["labels"] = {name: value for value, name in enumerate(LABELS)}
    (dataset / "dataset.json").write_text(json.dumps(content))
    (folder / "cases.csv").write_text("".join(table))
    with OutputFolder(folder) as output:
        write_results(output, rows, failed={}, checkpoint="x")
    return cross_validate("net", plan, told.get("dataset", dataset), [folder])


def case_table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "cases.csv", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_the_table_speaks_of_the_masks_after_the_choices(tmp_path: Path) -> None:
    found = cross_validation(tmp_path)
    assert found.keep_largest == [1]
    write_cross_validation(found, tmp_path / "out", checkpoint="x")
    before, after = case_table(tmp_path / "runs" / "fold_0_cases"), case_table(tmp_path / "out")
    assert after["b"] == before["b"], "its mask is what it was"
    row = after["a"]
    assert float(before["a"]["liver_ml"]) == pytest.approx(72 * VOXEL_ML)
    assert float(row["liver_ml"]) == pytest.approx(64 * VOXEL_ML)
    assert float(row["spleen_ml"]) == pytest.approx(8 * VOXEL_ML)
    gone = ("hints", "hint_count", "margin", "liver_voxels", "liver_hu", "spleen_hu")
    assert {row[name] for name in gone} == {""}
    assert (row["status"], row["total_s"]) == ("ok", "7.5")
    written = np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj)  # type: ignore[attr-defined]
    assert (written == 1).sum() == 64


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links")
def test_links_lead_to_the_masks_from_behind_a_link_too(tmp_path: Path) -> None:
    """The output's parent is a link to a folder at another depth: ".." leads up from there."""
    real = tmp_path / "disk" / "deep" / "er"
    real.mkdir(parents=True)
    (tmp_path / "scratch").symlink_to(real)
    found = cross_validation(tmp_path)
    write_cross_validation(found, tmp_path / "scratch" / "out", checkpoint="x")
    mask = real / "out" / "b.nii.gz"
    assert mask.is_symlink() and not os.path.isabs(os.readlink(mask))
    assert mask.samefile(tmp_path / "runs" / "fold_0_cases" / "b.nii.gz")


@pytest.mark.parametrize("how", ["another drive", "dangling"])
def test_a_mask_is_copied_where_no_link_leads_to_it(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relpath(*words: Any) -> str:
        if how == "dangling":
            return "../nowhere.nii.gz"
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    found = cross_validation(tmp_path)
    monkeypatch.setattr(outcome.os.path, "relpath", relpath)
    write_cross_validation(found, tmp_path / "out", checkpoint="x")
    mask, source = tmp_path / "out" / "b.nii.gz", tmp_path / "runs" / "fold_0_cases" / "b.nii.gz"
    assert not mask.is_symlink() and mask.read_bytes() == source.read_bytes()


def test_a_dataset_that_lacks_an_evaluated_case_is_refused(tmp_path: Path) -> None:
    cross_validation(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "D", other)
    for part in ("imagesTr", "labelsTr"):
        (other / part / "b.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"1 of the measured cases are not there.*: b;"):
        cross_validation(tmp_path, dataset=other)


def test_whether_the_largest_piece_was_given_is_asked_of_each_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plans, of which the second alone was given keep_largest; for both together the first."""
    candidates = []
    for name, reason in (("unet", "so"), ("unetr", "given on the command line")):
        one = Candidate(name, tmp_path / name, cases=4, folds=2)
        one.bundle.mkdir(parents=True)
        decision = {"name": "keep_largest", "value": False, "reason": reason}
        (one.bundle / "plan.json").write_text(json.dumps({"decisions": [decision]}))
        candidates.append(one)
    asked: dict[str, bool] = {}

    def cross_validate(name: str, *words: Any, chooses_largest: bool) -> None:
        asked[name] = chooses_largest

    monkeypatch.setattr(fitting, "cross_validate", cross_validate)
    plan = Plan.from_dict({**example_plan(), "keep_largest": False})
    monkeypatch.setattr(fitting, "trained_plan", lambda _: plan)
    request = FitRequest(tmp_path, 60.0, folds=2)
    made = Fit(request, tmp_path / "O")
    made.lengths = Lengths(request, FitRecord(OutputFolder(tmp_path / "O"), {}), candidates)
    together = Candidate("unet+unetr", tmp_path / "unet+unetr", cases=4, folds=2)
    for one in (*candidates, together):
        made._cross_validation(one)
    assert asked == {"unet": True, "unetr": False, "unet+unetr": True}
