"""Whose scan a case is: dataset.json's "patients", and what an import writes there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import load_dataset, write_dataset_json
from gridgate.data.datasets.folds import load_or_make_splits
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.mending.copy import write_mended
from gridgate.data.datasets.sources.nnunet import nnunet_source
from gridgate.data.errors import DatasetError
from gridgate.pipeline.cli.main import main

from .sources.scan_folders import ct, labels, nifti

PLACES = ("p1/before", "p1/after", "p2/before", "p2/after", "p3/before")


def scans(folder: Path) -> Path:
    for number, place in enumerate(PLACES):
        nifti(folder / place / "ct.nii.gz", ct(number))
        nifti(folder / place / "seg.nii.gz", labels(1))
    return folder


def imported(folder: Path, to: Path, *more: str) -> int:
    words = ["--images", "*/*/ct.nii.gz", "--labels", "*/*/seg.nii.gz", "--yes"]
    return main(["import", str(folder), str(to), *words, *more])


def test_a_folders_cases_are_a_patients_if_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans(tmp_path / "in")
    assert imported(tmp_path / "in", tmp_path / "A") == 0
    assert "--patients_by_folder" in capsys.readouterr().err
    assert not load_dataset(tmp_path / "A").patients
    assert imported(tmp_path / "in", tmp_path / "B", "--patients_by_folder") == 0
    dataset = load_dataset(tmp_path / "B")
    assert dataset.patients == {
        "p1_after": "p1",
        "p1_before": "p1",
        "p2_after": "p2",
        "p2_before": "p2",
    }
    for fold in load_or_make_splits(dataset, folds=3):
        assert len({name.split("_")[0] for name in fold["validation"]}) == 1
    with pytest.raises(DatasetError, match="5 cases of 3 patients"):
        load_or_make_splits(dataset, folds=4)


def test_a_tables_patients(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    files = [f"{place}/ct.nii.gz,{place}/seg.nii.gz" for place in PLACES]
    rows = [f"c{n},P{n // 2},{two}" for n, two in enumerate(files)]
    table = tmp_path / "in" / "table.csv"
    table.write_text("\n".join(["case,patient,image,label", *rows]))
    assert main(["import", str(table), str(tmp_path / "D"), "--yes"]) == 0
    assert load_dataset(tmp_path / "D").patients == {"c0": "P0", "c1": "P0", "c2": "P1", "c3": "P1"}
    rows = [f"Q{n}0,{two}" for n, two in enumerate(files)]
    table.write_text("\n".join(["patient,image,label", *rows]))  # each once: that is the case
    assert main(["import", str(table), str(tmp_path / "E"), "--yes"]) == 0
    dataset = load_dataset(tmp_path / "E")
    assert not dataset.patients and dataset.cases[0].id == "Q00"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"p": "a"}, "a mapping of a patient to the ids"),
        (["a"], "a mapping of a patient to the ids"),
        ({"p": ["none*"]}, "fits no case"),
        ({"p": ["a"], "q": ["*"]}, "under p and q"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, entry: Any, says: str) -> None:
    for name in "ab":
        nifti(tmp_path / "imagesTr" / f"{name}.nii.gz", ct(0))
        nifti(tmp_path / "labelsTr" / f"{name}.nii.gz", labels(1))
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}}
    content |= {"numTraining": 2, "file_ending": ".nii.gz", "patients": entry}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=says):
        load_dataset(tmp_path)


def test_patients_by_folder_wants_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        nifti(tmp_path / "in" / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / "in" / name / "seg.nii.gz", labels(1))
    words = ["--images", "*/ct.nii.gz", "--labels", "*/seg.nii.gz", "--patients_by_folder"]
    assert main(["import", str(tmp_path / "in"), str(tmp_path / "D"), "--yes", *words]) == 1
    assert "--patients_by_folder is for folders of a patient's scans" in capsys.readouterr().err


def test_patients_come_along_where_cases_are_left_out(tmp_path: Path, five_cases: Path) -> None:
    """Through a second import, and a mended copy: what is left still loads."""
    content = json.loads((five_cases / "dataset.json").read_text())
    content["patients"] = {"p": ["a", "b"], "q": ["c", "[d]"], "r": ["e*"]}
    (five_cases / "dataset.json").write_text(json.dumps(content))
    expected = {"a": "p", "b": "p", "c": "q", "[d]": "q", "e": "r"}
    assert load_dataset(five_cases).patients == expected
    write_dataset(nnunet_source(five_cases), tmp_path / "I")
    assert load_dataset(tmp_path / "I").patients == {
        **dict.fromkeys("ab", "p"),
        "c": "q",
        "[d]": "q",
    }
    source = nnunet_source(five_cases)
    cases = tuple(replace(case, broken="cut off" * (case.id == "a")) for case in source.cases)
    write_dataset(replace(source, cases=cases), tmp_path / "J", skip_broken=True)
    assert load_dataset(tmp_path / "J").patients == {"c": "q", "[d]": "q"}
    for folder in ("imagesTr", "labelsTr"):  # the same scan twice: a mended copy leaves one out
        shutil.copy(five_cases / folder / "e.nii.gz", five_cases / folder / "f.nii.gz")
    content["patients"]["s"] = ["f"]
    (five_cases / "dataset.json").write_text(json.dumps({**content, "numTraining": 6}))
    write_mended(check_soundness(five_cases), tmp_path / "M")
    left = load_dataset(tmp_path / "M")
    assert len(left.cases) == 5 and len(left.patients) == 5
    content["patients"] = {"p": ["gone"]}
    (five_cases / "dataset.json").write_text(json.dumps(content))
    assert check_soundness(five_cases).count("error") >= 1
    assert check_soundness(five_cases).of_kind("patients")


@pytest.fixture
def five_cases(tmp_path: Path) -> Path:
    """Five cases, one of them with brackets in its name."""
    root = tmp_path / "D"
    for number, name in enumerate(("a", "b", "c", "[d]", "e")):
        nifti(root / "imagesTr" / f"{name}.nii.gz", ct(number))
        nifti(root / "labelsTr" / f"{name}.nii.gz", labels(1 + number % 2, 2 - number % 2))
    write_dataset_json(root, "D", {"background": 0, "x": 1, "y": 2}, ("CT",), 5)
    return root
