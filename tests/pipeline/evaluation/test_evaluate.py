"""Evaluation: measured against the label files, in their own grids."""

import csv
import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ConfigError, OutputError, user_error
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.evaluation.measure import measure_files

from ..small_bundle import evaluate

LABELS = ["background", "liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]


@pytest.fixture(scope="module")
def finished(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate(phantom_dataset, folder, load_pretrain=False)
    return folder


def metrics(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_case_and_label(finished: Path) -> None:
    rows = metrics(finished)
    cases = {row["case"] for row in rows}
    assert len(cases) == 2  # six cases, three folds
    assert len(rows) == 2 * 6
    assert {path.name for path in finished.glob("*.nii.gz")} == {f"{case}.nii.gz" for case in cases}


def test_dice_is_simpleitks_on_the_files(finished: Path, phantom_dataset: Path) -> None:
    for case in {row["case"] for row in metrics(finished)}:
        prediction = sitk.ReadImage(str(finished / f"{case}.nii.gz"), sitk.sitkUInt8)
        truth = sitk.ReadImage(str(phantom_dataset / "labelsTr" / f"{case}.nii.gz"), sitk.sitkUInt8)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(prediction, truth)
        for row in metrics(finished):
            if row["case"] == case:
                assert float(row["dice"]) == pytest.approx(
                    overlap.GetDiceCoefficient(int(row["value"])), abs=1e-6
                )


def test_summary_holds_the_means(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["cases"] == 2 and summary["failed"] == {}
    for label in LABELS[1:]:
        values = [float(row["dice"]) for row in metrics(finished) if row["label"] == label]
        assert summary["labels"][label]["dice"]["mean"] == pytest.approx(np.mean(values))
        assert summary["labels"][label]["dice"]["std"] == pytest.approx(np.std(values))


def test_a_label_stored_in_another_axis_order_measures_the_same(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    truth = phantom_dataset / "labelsTr" / "phantom_000.nii.gz"
    mask = np.roll(np.asarray(nib.load(truth).dataobj, dtype=np.uint8), (2, -1, 1), axis=(0, 1, 2))
    nib.save(nib.Nifti1Image(mask, nib.load(truth).affine), tmp_path / "mask.nii.gz")
    stored = nib.load(truth).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    assert stored.shape != nib.load(truth).shape
    nib.save(stored, tmp_path / "label.nii.gz")
    plain = measure_files(tmp_path / "mask.nii.gz", truth, LABELS)
    other = measure_files(tmp_path / "mask.nii.gz", tmp_path / "label.nii.gz", LABELS)
    for a, b in zip(plain, other, strict=True):
        assert 0 < a.dice == b.dice < 1
        assert a.hd95_mm == pytest.approx(b.hd95_mm)


def test_merged_labels_count_as_one(phantom_dataset: Path) -> None:
    label = phantom_dataset / "labelsTr" / "phantom_000.nii.gz"
    merged = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5}
    names = ["background", "liver", "spleen", "kidneys", "pancreas", "aorta"]
    rows = measure_files(label, label, names, label_map=merged)
    voxels = np.asarray(nib.load(label).dataobj)
    by_name = {row.label: row for row in rows}
    assert by_name["liver"].dice == 1
    reference_ml = np.isin(voxels, (3, 4)).sum() * abs(np.linalg.det(nib.load(label).affine)) / 1000
    assert by_name["kidneys"].volume_reference_ml == pytest.approx(reference_ml, rel=1e-6)


def test_a_broken_image_costs_only_its_case(phantom_dataset: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(phantom_dataset, dataset)
    (dataset / "imagesTr" / "phantom_002.nii.gz").write_bytes(b"\x1f\x8bnothing")
    (dataset / "labelsTr" / "phantom_003.nii.gz").write_bytes(b"")
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(dataset, tmp_path / "output", load_pretrain=False, part="all")
    assert "phantom_002" in str(user_error(caught.value))
    summary = json.loads((tmp_path / "output" / "summary.json").read_text())
    assert set(summary["failed"]) == {"phantom_002", "phantom_003"}
    assert {row["case"] for row in metrics(tmp_path / "output")} == {
        f"phantom_00{i}" for i in (0, 1, 4, 5)
    }


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "cases.csv", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def change_label(dataset: Path, case: str, *, voxel: int = 0, shift: float = 0.0) -> None:
    path = dataset / "labelsTr" / f"{case}.nii.gz"
    label = nib.load(path)
    array = np.asarray(label.dataobj, dtype=np.uint8).copy()
    array[0, 0, :3] = voxel
    affine = label.affine.copy()
    affine[:3, 3] += (0, shift, 0)
    path.unlink()
    nib.save(nib.Nifti1Image(array, affine), path)


def test_what_cannot_be_measured_fails_its_case_and_is_not_segmented(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    dataset, output = tmp_path / "dataset", tmp_path / "output"
    others = shutil.ignore_patterns("phantom_002*", "phantom_003*")
    shutil.copytree(phantom_dataset, dataset, ignore=others)
    change_label(dataset, "phantom_001", shift=77.0)
    change_label(dataset, "phantom_004", voxel=99)
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(dataset, output, load_pretrain=False, part="all")
    assert "2 of 4 cases failed" in str(user_error(caught.value))
    rows = table(output)
    assert {case for case in rows if rows[case]["status"] == "failed"} == {
        "phantom_001",
        "phantom_004",
    }
    assert "77.0 mm apart" in rows["phantom_001"]["reason"]
    assert "labelsTr/phantom_001.nii.gz" in rows["phantom_001"]["reason"]
    assert "imagesTr/phantom_001.nii.gz" in rows["phantom_001"]["reason"]
    assert re.search(r"99 \(3 of \d+ voxels\)", rows["phantom_004"]["reason"])
    summary = json.loads((output / "summary.json").read_text())
    assert summary["cases"] == 2 and set(summary["failed"]) == {"phantom_001", "phantom_004"}
    assert {row["case"] for row in metrics(output)} == {"phantom_000", "phantom_005"}
    assert not (output / "phantom_001.nii.gz").exists()
    # the same run again, with the value named and the label put back: what is done stays done
    shutil.copy(phantom_dataset / "labelsTr" / "phantom_001.nii.gz", dataset / "labelsTr")
    evaluate(dataset, output, load_pretrain=False, part="all", merge_labels={99: "background"})
    summary = json.loads((output / "summary.json").read_text())
    assert summary["cases"] == 4 and summary["failed"] == {}
    # a label that is spoilt after its mask was made
    change_label(dataset, "phantom_005", shift=-50.0)
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(dataset, output, load_pretrain=False, part="all", merge_labels={99: "background"})
    assert "50.0 mm apart" in str(user_error(caught.value))
    assert json.loads((output / "summary.json").read_text())["cases"] == 3


def test_results_are_written_while_the_folder_is_held(
    phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("gridgate.pipeline.evaluation.evaluate")
    write = module.write_results
    asked = []

    def held(output: Any, *args: Any, **options: Any) -> Any:
        with pytest.raises(ConfigError, match="another run is writing there"):
            OutputFolder(tmp_path).__enter__()
        asked.append(output.folder)
        return write(output, *args, **options)

    monkeypatch.setattr(module, "write_results", held)
    evaluate(phantom_dataset, tmp_path, load_pretrain=False)
    assert asked == [tmp_path]
    assert OutputFolder(tmp_path).owns("metrics.csv") and OutputFolder(tmp_path).owns(
        "summary.json"
    )


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json"])
def test_a_file_of_somebody_else_is_never_written_over(
    name: str, phantom_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, tmp_path, load_pretrain=False)
    found = user_error(caught.value)
    assert isinstance(found, OutputError) and name in str(found)
    assert (tmp_path / name).read_text() == "mine"
    assert not list(tmp_path.glob("*.nii.gz"))


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
def test_masks_never_go_over_the_datasets_own_files(
    phantom_dataset: Path, tmp_path: Path, part: str
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(phantom_dataset, dataset)
    before = {path.name: path.read_bytes() for path in (dataset / part).iterdir()}
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(dataset, dataset / part, load_pretrain=False)
    assert "overwrite" in str(user_error(caught.value))
    assert {path.name: path.read_bytes() for path in (dataset / part).iterdir()} == before


def test_a_mask_that_a_person_has_corrected_is_not_measured_as_the_networks(
    finished: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)  # with times
    case = sorted(folder.glob("phantom_*.nii.gz"))[0]
    truth = phantom_dataset / "labelsTr" / case.name
    case.write_bytes(truth.read_bytes())
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, folder, load_pretrain=False)
    assert "changed since Gridgate wrote it" in str(user_error(caught.value))
    measured = {row["case"] for row in metrics(folder)}
    assert case.name.split(".")[0] not in measured and len(measured) == 1
    assert case.read_bytes() == truth.read_bytes()
