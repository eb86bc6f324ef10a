"""Evaluation: measured against the label files, in their own grids."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import user_error
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
