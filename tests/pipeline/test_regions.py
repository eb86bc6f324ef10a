"""Regions from dataset.json to masks and metrics, on a network of a few weights."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError, DatasetError, user_error

from .small_bundle import evaluate, infer, train

LABELS = ["background", "belly", "kidneys", "left"]
VALUES = [7, 2, 5]
# of the phantom's labels: liver 1, spleen 2, right and left kidney 3 and 4
HELD = {"belly": [1, 2, 3, 4], "kidneys": [3, 4], "left": [4]}
PLAN: dict[str, Any] = {"labels": LABELS, "region_values": VALUES, "merge_labels": {}}
MASKS: dict[str, Any] = {
    "labels": LABELS,
    "region_values": VALUES,
    "expected": None,
    "terminology": {},
    "keep_largest": False,
}


@pytest.fixture(scope="module")
def dataset(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom with regions; the pancreas (5) is ignored, the aorta (6) background.

    Of the last case the left kidney was not drawn for itself.
    """
    root = tmp_path_factory.mktemp("regions") / "D"
    (root / "labelsTr").mkdir(parents=True)
    shutil.copytree(phantom_dataset / "imagesTr", root / "imagesTr")
    for path in (phantom_dataset / "labelsTr").iterdir():
        image = nib.load(path)
        array = np.asarray(image.dataobj).copy()
        array[array == 6] = 0
        if path.name.startswith("phantom_005"):
            array[array == 4] = 3
        nib.save(nib.Nifti1Image(array, image.affine), root / "labelsTr" / path.name)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **HELD, "ignore": 5},
        "regions_class_order": VALUES,
        "annotated": {"phantom_005": ["belly", "kidneys"]},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    train(dataset, folder, **PLAN, learning_rate=0.02, val_interval=3)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_a_training_writes_the_plan_with_its_regions(trained: Path) -> None:
    (row,) = rows(trained / "metrics_train.csv")
    assert {f"dice_{label}" for label in LABELS[1:]} <= row.keys()
    metadata = json.loads((trained / "configs" / "metadata.json").read_text())
    assert metadata["plan"]["region_values"] == VALUES
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 3


def test_an_evaluation_measures_each_region(dataset: Path, trained: Path, tmp_path: Path) -> None:
    evaluate(dataset, tmp_path, **MASKS, merge_labels={}, checkpoint=str(trained), part="all")
    known = load_dataset(dataset)
    found = rows(tmp_path / "metrics.csv")
    assert len(found) == 18
    for row in found:
        case, label = row["case"], row["label"]
        assert int(row["value"]) == known.labels[label]
        if (case, label) == ("phantom_005", "left"):
            assert row["status"] == "not annotated" and row["dice"] == ""
            continue
        truth = voxels(dataset / "labelsTr" / f"{case}.nii.gz")
        counted = truth != 5
        mask = (voxels(tmp_path / "regions" / label / f"{case}.nii.gz") > 0) & counted
        inside = np.isin(truth, HELD[label]) & counted
        dice = 2 * (inside & mask).sum() / (inside.sum() + mask.sum())
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-6)
    summary = json.loads((tmp_path / "summary.json").read_text())["labels"]
    assert summary["left"]["cases"] == 5 and summary["belly"]["cases"] == 6


def test_masks_are_one_map_and_one_of_each_when_asked(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    """The map is the masks' values, later regions over earlier ones; the table counts each."""
    told = {**MASKS, "checkpoint": str(trained)}
    infer(dataset / "imagesTr", tmp_path / "M", **told, region_masks=True)
    found = {row["case"]: row for row in rows(tmp_path / "M" / "cases.csv")}
    assert len(found) == 6
    for case, row in found.items():
        wanted = np.zeros(voxels(dataset / "labelsTr" / f"{case}.nii.gz").shape, int)
        for label, value in zip(LABELS[1:], VALUES, strict=True):
            mask = voxels(tmp_path / "M" / "regions" / label / f"{case}.nii.gz")
            assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
            wanted[mask == 1] = value
            assert int(row[f"{label}_voxels"]) == int((mask == 1).sum())
        written = nib.load(tmp_path / "M" / f"{case}.nii.gz")
        np.testing.assert_array_equal(np.asarray(written.dataobj), wanted)
        (extension,) = written.header.extensions
        assert b'Key="7"' in extension.content and b"belly" in extension.content
    labels = json.loads((tmp_path / "M" / "labels.json").read_text())["labels"]
    assert labels == {"background": 0, "kidneys": 2, "left": 5, "belly": 7}
    infer(dataset / "imagesTr", tmp_path / "M", **told, region_masks=False, overlap=0.0)
    assert not list((tmp_path / "M" / "regions").rglob("*.nii.gz"))  # of other settings


def test_several_networks_and_probabilities(dataset: Path, trained: Path, tmp_path: Path) -> None:
    """An ensemble of one network twice gives its masks; above a half a probability is a region."""
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(dataset / "imagesTr" / "phantom_001.nii.gz", scans)
    told = {**MASKS, "region_masks": True, "probabilities": ["kidneys"]}
    one, two = str(trained), [str(trained), str(trained)]
    infer(scans, tmp_path / "a", **told, checkpoint=one, interpolate_probabilities=True)
    infer(scans, tmp_path / "b", **told, checkpoint=two)
    name = "phantom_001.nii.gz"
    for label in LABELS[1:]:
        first, second = (voxels(tmp_path / run / "regions" / label / name) for run in "ab")
        np.testing.assert_array_equal(first, second)
    chance = nib.load(tmp_path / "a" / "probabilities" / "kidneys" / name).get_fdata()
    mask = voxels(tmp_path / "a" / "regions" / "kidneys" / name)
    sure = np.abs(chance - 0.5) > 0.01
    np.testing.assert_array_equal(mask[sure] == 1, chance[sure] > 0.5)


def test_a_voxel_is_a_region_above_its_threshold(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    """Against the written probabilities, of a network and of an ensemble of it."""
    scans = tmp_path / "scans"
    scans.mkdir()
    name = "phantom_001.nii.gz"
    shutil.copy(dataset / "imagesTr" / name, scans)
    told: dict[str, Any] = {**MASKS, "region_masks": True, "probabilities": LABELS[1:]}
    told["interpolate_probabilities"] = True
    infer(scans, tmp_path / "plain", **told, checkpoint=str(trained))
    chances = {
        label: nib.load(tmp_path / "plain" / "probabilities" / label / name).get_fdata()
        for label in LABELS[1:]
    }
    wanted = {label: float(np.quantile(chances[label], 0.8)) for label in LABELS[1:]}
    told["thresholds"] = list(wanted.values())
    for checkpoint in (str(trained), [str(trained), str(trained)]):
        infer(scans, tmp_path / "set", **told, checkpoint=checkpoint, mirror_axes=[])
        for label, threshold in wanted.items():
            mask = voxels(tmp_path / "set" / "regions" / label / name)
            sure = np.abs(chances[label] - threshold) > 1 / 255
            np.testing.assert_array_equal(mask[sure] == 1, chances[label][sure] > threshold)
            assert 0.1 < mask.mean() < 0.3 and sure.mean() > 0.5


def refused(call: Any, kind: type[Exception]) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        call()
    error = user_error(caught.value)
    assert isinstance(error, kind), caught.value
    return str(error)


def test_what_regions_cannot_be_is_said_before_anything_runs(
    dataset: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    scans = dataset / "imagesTr"
    told = {**MASKS, "load_pretrain": False}
    segments = refused(lambda: infer(scans, tmp_path, **told, output_ext=".seg.nrrd"), ConfigError)
    assert "overlap" in segments and "--region_masks true" in segments
    assert "leave it out" in refused(
        lambda: infer(scans, tmp_path, load_pretrain=False, region_masks=True), ConfigError
    )
    assert "region_values" in refused(
        lambda: infer(scans, tmp_path, **{**told, "region_values": [1, 2]}), ConfigError
    )
    assert "class_weights is not there for regions" in refused(
        lambda: train(dataset, tmp_path, **PLAN, **{"+train::loss::class_weights": [1, 2, 3, 4]}),
        ConfigError,
    )
    assert "3 of them" in refused(
        lambda: infer(scans, tmp_path, **told, thresholds=[0.4, 0.4]), ConfigError
    )
    assert "7 labels exclude each other" in refused(
        lambda: infer(scans, tmp_path, load_pretrain=False, thresholds=[0.4]), ConfigError
    )
    assert "labels exclude each other" in refused(
        lambda: train(dataset, tmp_path, labels=LABELS, merge_labels={}), DatasetError
    )
    assert not (tmp_path / "cases.csv").exists()
