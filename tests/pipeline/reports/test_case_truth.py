"""The truth on pages has the masks' values, by names; what is not annotated is not made up."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.pipeline.batch.results.case_result import DONE
from gridgate.pipeline.reports import cases
from gridgate.pipeline.reports.cases import evaluated_cases, names_by_value, spread
from gridgate.pipeline.reports.page import Paragraph, Picture, Table
from gridgate.pipeline.reports.pictures.album import Album
from gridgate.pipeline.reports.run_tables import RunTables

LABELS = ["background", "liver", "spleen"]


def dataset(root: Path, **more: Any) -> np.ndarray:
    """One case, whose label file says liver with 3 and spleen with 7."""
    told = {"name": "odd", "modality": {"0": "CT"}, "numTraining": 1}
    told["labels"] = {"0": "background", "3": "liver", "7": "spleen"}
    told["training"] = [{"image": "./imagesTr/c1.nii.gz", "label": "./labelsTr/c1.nii.gz"}]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(told | more))
    truth = np.zeros((24, 24, 12), np.uint8)
    truth[4:10, 4:10, 3:9] = 3
    truth[14:20, 4:10, 3:9] = 7
    image = np.random.default_rng(0).normal(0, 30, truth.shape).astype(np.float32)
    for folder, array in (("imagesTr", image), ("labelsTr", truth)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), root / folder / "c1.nii.gz")
    return truth


def evaluation(folder: Path, root: Path, mask: np.ndarray) -> Path:
    """The tables and the mask of a run over it."""
    folder.mkdir()
    nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "c1.nii.gz")
    scan = str(root / "imagesTr" / "c1.nii.gz")
    rows = {
        "cases.csv": [{"case": "c1", "input": scan, "output": "c1.nii.gz", "status": DONE}],
        "metrics.csv": [
            {
                **{"case": "c1", "label": label, "value": value, "dice": 0.9 + value / 100},
                **{"volume_reference_ml": 1.0, "status": ""},
            }
            for value, label in ((1, "liver"), (2, "spleen"))
        ],
    }
    for name, table in rows.items():
        with open(folder / name, "w", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(table)
    return folder


def drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, root: Path, **told: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Prediction and truth of each difference that a page draws."""
    found = []
    draw = cases.difference_figure

    def kept(image: Any, prediction: Any, truth: Any, **more: Any) -> Any:
        found.append((np.asarray(prediction.array), np.asarray(truth.array)))
        return draw(image, prediction, truth, **more)

    monkeypatch.setattr(cases, "difference_figure", kept)
    section = evaluated_cases(
        RunTables(folder), root, LABELS, 1, Album(tmp_path / "pictures"), **told
    )
    *pictures, table = section.blocks
    assert all(isinstance(block, Picture) for block in pictures) and isinstance(table, Table)
    assert len(pictures) == 1 + len(found)
    return found


def channels(truth: np.ndarray) -> np.ndarray:
    return np.select([truth == 3, truth == 7], [1, 2]).astype(np.uint8)


def test_values_are_those_of_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = dataset(tmp_path / "D")
    folder = evaluation(tmp_path / "E", tmp_path / "D", channels(truth))
    ((prediction, shown),) = drawn(monkeypatch, tmp_path, folder, tmp_path / "D")
    np.testing.assert_array_equal(shown, channels(truth))
    np.testing.assert_array_equal(prediction, shown)


def test_what_the_case_has_not_annotated_is_not_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = dataset(tmp_path / "D", annotated={"c1": ["liver"]})
    path = tmp_path / "D" / "labelsTr" / "c1.nii.gz"
    nib.save(nib.Nifti1Image(np.where(truth == 7, 0, truth).astype(np.uint8), np.eye(4)), path)
    folder = evaluation(tmp_path / "E", tmp_path / "D", channels(truth))
    ((prediction, shown),) = drawn(monkeypatch, tmp_path, folder, tmp_path / "D")
    np.testing.assert_array_equal(prediction, shown)
    assert set(np.unique(prediction)) == {0, 1}


def test_labels_that_are_counted_as_others_are_drawn_as_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"0": "background", "3": "liver", "7": "spleen", "9": "cyst"}
    truth = dataset(tmp_path / "D", labels=names)
    path = tmp_path / "D" / "labelsTr" / "c1.nii.gz"
    with_cyst = truth.copy()
    with_cyst[20:22, 20:22, 4:6] = 9
    nib.save(nib.Nifti1Image(with_cyst, np.eye(4)), path)
    folder = evaluation(tmp_path / "E", tmp_path / "D", channels(truth))
    told: dict[str, Any] = {"merge_labels": {"cyst": "liver"}}
    ((prediction, shown),) = drawn(monkeypatch, tmp_path, folder, tmp_path / "D", **told)
    np.testing.assert_array_equal(prediction, channels(truth))
    np.testing.assert_array_equal(shown, np.where(with_cyst == 9, 1, channels(truth)))


@pytest.mark.parametrize(
    ("given", "why"),
    [({}, "its labels are"), ({"region_values": [1, 2]}, "regions, which overlap")],
)
def test_why_the_truth_is_not_drawn_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], why: str
) -> None:
    truth = dataset(tmp_path / "D", labels={"0": "background", "3": "liver", "7": "cancer"})
    folder = evaluation(tmp_path / "E", tmp_path / "D", channels(truth))
    section = evaluated_cases(
        RunTables(folder), tmp_path / "D", LABELS, 1, Album(tmp_path / "pictures"), **given
    )
    told, picture, table = section.blocks
    assert isinstance(told, Paragraph) and why in told.text
    assert isinstance(picture, Picture) and isinstance(table, Table)


def test_regions_have_the_names_of_the_values_that_they_are_written_as() -> None:
    names = ["background", "kidney", "masses", "tumor"]
    assert names_by_value(names, [1, 3, 2]) == ["background", "kidney", "tumor", "masses"]
    assert names_by_value(names, None) == names
    assert names_by_value(names[:2], [3]) == ["background", "", "", "kidney"]


def test_a_case_with_nothing_to_find_has_no_place_in_the_ranking() -> None:
    means = {"a": 0.5, "b": float("nan"), "c": 0.9}
    assert spread(means, 3) == [("a", "the worst"), ("c", "the best")]
    assert spread({"b": float("nan")}, 3) == []
