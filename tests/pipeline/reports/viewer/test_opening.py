"""What `gridgate view` is given, and which cases that means."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.reports.scripts import VIEWING
from gridgate.pipeline.reports.viewer.opening import cases_to_show, chosen, page_of

from ..test_report_inputs import volume, write_dicom


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run over two cases of a dataset, of which one failed."""
    for folder in ("imagesTr", "labelsTr"):
        scan(tmp_path / "D" / folder / "c1.nii.gz")
    told = {"name": "d", "labels": {"0": "background", "1": "liver"}, "modality": {"0": "CT"}}
    told |= {"training": [{"image": "./imagesTr/c1.nii.gz", "label": "./labelsTr/c1.nii.gz"}]}
    (tmp_path / "D" / "dataset.json").write_text(json.dumps(told))
    scan(tmp_path / "E" / "c1.nii.gz")
    with open(tmp_path / "E" / "cases.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["case", "input", "output", "status"])
        writer.writeheader()
        image = tmp_path / "D" / "imagesTr" / "c1.nii.gz"
        writer.writerow({"case": "c1", "input": image, "output": "c1.nii.gz", "status": "ok"})
        writer.writerow({"case": "c2", "input": image, "output": "", "status": "failed"})
    return tmp_path


def test_a_scan_and_its_masks(tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii.gz")
    masks = [scan(tmp_path / folder / "m.nii.gz") for folder in ("a", "b")]
    masks.append(scan(tmp_path / "other.nii.gz"))
    (case,) = cases_to_show(image, masks)
    assert case.name == "ct" and case.scan == str(image)
    assert [mask.name for mask in case.masks] == ["a/m.nii.gz", "b/m.nii.gz", "other.nii.gz"]
    assert [mask.path for mask in case.masks] == masks


def test_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    names = ["1.2.840.10.nii.gz", "1.2.840.11.nii.gz", "ct.nii.gz", "ct.nii", "a.b.nii"]
    for name in names:
        scan(tmp_path / "scans" / name)
    found = cases_to_show(tmp_path / "scans", [])
    assert sorted(case.name for case in found) == sorted(
        ["1.2.840.10", "1.2.840.11", "ct.nii.gz", "ct.nii", "a.b"]
    )
    assert {Path(case.scan).name for case in found} == set(names)
    masks = [scan(tmp_path / top / "x" / "m.nii") for top in ("p", "q")]
    (case,) = cases_to_show(tmp_path / "scans" / "a.b.nii", [*masks, masks[0]])
    told = [mask.name for mask in case.masks]
    assert told[1] == "q/x/m.nii" and len(set(told)) == 3


def test_a_page_is_served_only_where_gridgate_wrote_it(run: Path) -> None:
    """It may hold scripts, and what is served beside the scans can read them."""
    page = f"<script>{VIEWING}</script>".encode()
    (run / "E" / "report.html").write_bytes(page)
    assert page_of(run / "E") is None
    (run / "E" / "report.html").unlink()
    with OutputFolder(run / "E") as output:
        output.write("report.html", lambda stream: stream.write(page))
    assert page_of(run / "E") == run / "E" / "report.html"
    (run / "E" / "report.html").write_bytes(page + b"<script>evil()</script>")
    assert page_of(run / "E") is None
    with OutputFolder(run / "D") as output:  # a dataset, not a run
        output.write("report.html", lambda stream: stream.write(page))
    assert page_of(run / "D") is None
    for name in ("E", "D"):
        (run / name / "report.html").unlink()
    with OutputFolder(run / "E") as output:  # of an earlier version, without buttons
        output.write("report.html", lambda stream: stream.write(b"<h1>old</h1>"))
    assert page_of(run / "E") is None


def test_a_runs_masks_with_the_truth_where_the_dataset_is_given(run: Path) -> None:
    (case,) = cases_to_show(run / "E", [])
    assert [mask.name for mask in case.masks] == ["prediction"]
    (case,) = cases_to_show(run / "E", [], dataset=run / "D")
    assert [mask.name for mask in case.masks] == ["prediction", "truth"]
    assert case.masks[1].names == {0: "background", 1: "liver"}
    shutil.move(run / "E", run / "fit" / "cross_validation")
    (case,) = cases_to_show(run / "fit", [])
    assert case.masks[0].path == run / "fit" / "cross_validation" / "c1.nii.gz"


def test_a_dataset_and_a_folder_of_scans(run: Path) -> None:
    (case,) = cases_to_show(run / "D", [])
    assert case.name == "c1" and [mask.name for mask in case.masks] == ["labels"]
    assert [case.name for case in cases_to_show(run / "D" / "imagesTr", [])] == ["c1"]


def test_a_dicom_series(tmp_path: Path) -> None:
    write_dicom(tmp_path / "series")
    (case,) = cases_to_show(tmp_path / "series", [])
    assert case.told()["masks"] == []
    np.testing.assert_array_equal(np.sort(case.image.array.ravel()), np.sort(volume().ravel()))


def test_what_cannot_be_shown_is_told(run: Path, tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii.gz")
    with pytest.raises(ConfigError, match="no such file or folder"):
        cases_to_show(tmp_path / "none", [])
    with pytest.raises(ConfigError, match=r"none\.nii\.gz: there is no such file"):
        cases_to_show(image, [tmp_path / "none.nii.gz"])
    with pytest.raises(ConfigError, match=r"--dataset is for the folder of a run"):
        cases_to_show(image, [], dataset=run / "D")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no scan that can be shown"):
        cases_to_show(tmp_path / "empty", [])
    folder = tmp_path / "two"
    for name in ("a", "b"):
        scan(folder / f"{name}.nii.gz")
    with pytest.raises(ConfigError, match="holds 2 cases"):
        cases_to_show(folder, [image])
    both = cases_to_show(folder, [])
    assert [case.name for case in chosen(both, "b")] == ["b", "a"]
    with pytest.raises(ConfigError, match="no case is called 'c'; there are a, b"):
        chosen(both, "c")
