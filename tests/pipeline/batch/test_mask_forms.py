"""Masks of other forms, and the tables of labels beside them: resumed, replaced, never taken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ConfigError, OutputError
from gridgate.data.images.names import MASK_SUFFIXES
from gridgate.data.inputs.find import find_cases
from gridgate.data.output_folder import OutputFolder

from .test_foreign_files import Failing, Never
from .threshold import TABLES, evaluator, run, table, write_scan


def items(folder: Path, names: str = "ab") -> list[dict[str, Any]]:
    found = []
    for seed, name in enumerate(names.split(",") if "," in names else names):
        write_scan(folder / "scans" / f"{name}.nii.gz", seed=seed)
        found.append({"id": name, "image": str(folder / "scans" / f"{name}.nii.gz")})
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_masks_of_each_form(suffix: str, tmp_path: Path) -> None:
    cases, out, after = items(tmp_path), tmp_path / "out", {"output_ext": suffix}
    rows = run(cases, out, after=after)
    assert files(out) == sorted([f"a{suffix}", f"b{suffix}", "cases.csv", *TABLES])
    for seed, name in enumerate("ab"):
        assert (rows[name]["status"], rows[name]["output"]) == ("ok", f"{name}{suffix}")
        dense = write_scan(tmp_path / "again.nii.gz", seed=seed)
        image = sitk.ReadImage(str(out / f"{name}{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, dense)
        assert image.GetSpacing() == (2, 2, 3)
    assert json.loads((out / "labels.json").read_text())["file_ending"] == suffix
    # and a second run has nothing to do
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "cases.csv"}
    assert run(cases, out, after=after, network=Never())["b"]["output"] == f"b{suffix}"
    for path, time in before.items():
        assert path.is_dir() or path.stat().st_mtime_ns == time


def test_another_form_takes_the_place_of_the_first(tmp_path: Path) -> None:
    cases, out = items(tmp_path), tmp_path / "out"
    run(cases, out, settings={"output_ext": ".nrrd"}, after={"output_ext": ".nrrd"})
    (out / "a.mha").write_bytes(b"somebody's")
    after = {"output_ext": ".seg.nrrd"}
    rows = run(cases, out, settings=after, after=after)
    assert {row["output"] for row in rows.values()} == {"a.seg.nrrd", "b.seg.nrrd"}
    masks = sorted(["a.mha", "a.seg.nrrd", "b.seg.nrrd", "cases.csv", *TABLES])
    assert files(out) == masks
    assert json.loads((out / "labels.json").read_text())["file_ending"] == ".seg.nrrd"
    # a case that fails keeps what there is, and the next run clears it away
    run_failing(cases, out)
    assert files(out) == masks
    run(cases, out, settings={"output_ext": ".nii"}, after={"output_ext": ".nii"})
    assert files(out) == sorted(["a.mha", "a.nii", "b.nii", "cases.csv", *TABLES])


def run_failing(cases: list[dict[str, Any]], out: Path) -> None:
    engine = evaluator(cases, out, settings={"x": 1}, network=Failing())
    with pytest.raises(Exception, match="2 of 2 cases failed"):
        engine.run()


def test_a_case_of_a_name_like_a_mask_keeps_its_mask(tmp_path: Path) -> None:
    """a.seg.nrrd is the mask of the case a.seg, and would be that of a as a segmentation."""
    cases, out, after = items(tmp_path, "a,a.seg"), tmp_path / "out", {"output_ext": ".nrrd"}
    run(cases, out, after=after)
    write_scan(tmp_path / "scans" / "a.nii.gz", seed=7)  # so that it is run again, alone
    rows = run(cases, out, after=after)
    assert [row["status"] for row in rows.values()] == ["ok", "ok"]
    assert files(out) == sorted(["a.nrrd", "a.seg.nrrd", "cases.csv", *TABLES])


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_a_mask_never_overwrites_a_scan(suffix: str, tmp_path: Path) -> None:
    scan = tmp_path / f"a{suffix}"
    write_scan(tmp_path / "b.nii.gz")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "b.nii.gz")), str(scan))
    before = scan.read_bytes()
    with pytest.raises(ConfigError, match="would overwrite this file"):
        run([{"id": "a", "image": str(scan)}], tmp_path, after={"output_ext": suffix})
    assert scan.read_bytes() == before and files(tmp_path) == sorted([scan.name, "b.nii.gz"])


@pytest.mark.parametrize("suffix", [".png", "nrrd", "", ".NII.GZ", ".nii.bz2", None])
def test_other_forms_are_refused(suffix: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"output_ext .*\.nii\.gz, \.nii, \.seg\.nrrd, \.nrrd, \."
    ):
        evaluator([], tmp_path, after={"output_ext": suffix})


def test_tables_are_gridgates_and_come_back(tmp_path: Path) -> None:
    cases, out = items(tmp_path), tmp_path / "out"
    run(cases, out)
    for name in TABLES:
        assert OutputFolder(out).owns(name)
    content = (out / "labels.ctbl").read_bytes()
    assert content.splitlines()[-1].startswith(b"1 dense ")
    (out / "labels.ctbl").unlink()
    run(cases, out, network=Never())  # all cases are done
    assert (out / "labels.ctbl").read_bytes() == content


def test_a_table_that_a_person_has_changed_is_theirs(tmp_path: Path) -> None:
    cases, out = items(tmp_path), tmp_path / "out"
    run(cases, out)
    (out / "labels.label").write_text("my colours")
    with pytest.raises(OutputError, match=r"labels\.label.*was changed since"):
        run(cases, out, network=Never())
    assert (out / "labels.label").read_text() == "my colours"
    assert table(out)["b"]["status"] == "ok"


def test_tables_are_no_cases(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(items(tmp_path), out, after={"output_ext": ".seg.nrrd"})
    found = find_cases(out)
    assert [case["id"] for case in found.cases] == ["a", "b"]
    assert found.passed_over == []
