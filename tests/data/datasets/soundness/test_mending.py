"""A mended copy: each kind of fault is gone, the voxels are those of the sound case again."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.findings import Report
from gridgate.data.datasets.soundness.mending.copy import planned, write_mended
from gridgate.data.errors import OutputError

MENDED = {  # kind -> the case that has it
    "label-no-geometry": "identity_affine",
    "label-shifted": "shifted_30_mm",
    "label-mirrored": "lps_as_ras",
    "label-transposed": "axes_zyx",
    "label-half-voxel": "half_a_voxel",
    "label-nearly": "fifth_of_a_voxel",
    "label-turned": "turned_10_degrees",
    "label-spacing": "other_voxel_size",
    "label-form": "label_qform_is_right",
    "image-form": "image_qform_is_right",
    "forms-disagree": "image_forms_disagree",
    "label-cropped": "cropped_to_labels",
    "label-scaled": "times_51",
    "label-fractions": "times_099",
    "image-hu-offset": "unsigned",
    "spacing-unit": "centimetres",
    "image-no-geometry": "image_identity",
    "sides-swapped": "sides_swapped",
    "label-flipped": "label_flipped_z",
    "labels-swapped": "values_exchanged",
    "files-swapped": "files_exchanged",
    "names-differ": "name_in_other_case",
}
NO_CASE = ("case-twice", "case-in-train-and-test", "count-differs")
OTHERWISE = ("label-resampled", "image-not-finite", "case-mirrored")


def _marks(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def before(faulty: Path) -> dict[str, str]:
    return _marks(faulty)


@pytest.fixture(scope="module")
def copy(report: Report, before: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("copy") / "mended"
    write_mended(report, out)
    return out


@pytest.fixture(scope="module")
def again(copy: Path) -> Report:
    return check_soundness(copy, workers=1)


def test_the_original_is_untouched(faulty: Path, before: dict[str, str], copy: Path) -> None:
    assert _marks(faulty) == before


@pytest.mark.parametrize("kind", [*MENDED, *NO_CASE, *OTHERWISE])
def test_the_check_is_silent_on_the_copy(report: Report, again: Report, kind: str) -> None:
    assert report.of_kind(kind)
    assert not again.of_kind(kind)


def test_mending_brings_no_new_fault(report: Report, again: Report) -> None:
    known = {(finding.case, finding.kind) for finding in report.findings}
    new = [
        one
        for one in again.findings
        # a real scan may have had it before its fault was planted
        if (one.case, one.kind) not in known and one.kind != "image-beyond-hu"
    ]
    assert not new, [(one.case, one.text) for one in new]


@pytest.mark.parametrize("kind", MENDED)
def test_the_mended_voxels_lie_where_they_should(
    copy: Path, originals: dict[str, Any], kind: str
) -> None:
    name = MENDED[kind]
    case = originals[name]
    for folder, wanted in (("imagesTr", case.hu), ("labelsTr", case.labels)):
        file = nib.load(copy / folder / f"{name}.nii.gz")
        array = np.asarray(file.dataobj)
        assert array.shape == wanted.shape
        assert np.array_equal(array, wanted)
        assert np.allclose(file.affine, case.affine, atol=1e-3)
        sform, qform = file.get_sform(), file.get_qform()
        assert np.allclose(sform, qform, atol=1e-3)


def test_a_mirrored_case_is_where_it_was_and_the_other_way_round(
    copy: Path, originals: dict[str, Any]
) -> None:
    case = originals["both_flipped_z"]
    file = nib.load(copy / "imagesTr" / "both_flipped_z.nii.gz")
    back = nib.as_closest_canonical(file)
    wanted = nib.as_closest_canonical(nib.Nifti1Image(case.hu, case.affine))
    assert np.array_equal(back.dataobj, wanted.dataobj)
    assert np.allclose(back.affine, wanted.affine, atol=1e-3)


def test_a_label_map_of_larger_voxels_comes_onto_the_images_grid(
    copy: Path, originals: dict[str, Any]
) -> None:
    case = originals["half_resolution"]
    labels = np.asarray(nib.load(copy / "labelsTr" / "half_resolution.nii.gz").dataobj)
    assert labels.shape == case.hu.shape
    assert np.array_equal(labels[::2, ::2, ::2], case.labels[::2, ::2, ::2])


def test_what_was_no_number_is_the_lowest_value(copy: Path, originals: dict[str, Any]) -> None:
    mended = np.asarray(nib.load(copy / "imagesTr" / "nan.nii.gz").dataobj)
    wanted = originals["nan"].hu.astype(np.float32)
    wanted[3, 4, 5] = wanted[4, 4, 5] = wanted.min()
    assert np.array_equal(mended, wanted)


def test_sound_files_are_linked_and_all_are_logged(
    copy: Path, faulty: Path, report: Report
) -> None:
    assert (copy / "imagesTr" / "sound_07.nii.gz").is_symlink()
    assert (copy / "imagesTr" / "shifted_30_mm.nii.gz").is_symlink()
    assert not (copy / "labelsTr" / "shifted_30_mm.nii.gz").is_symlink()
    with open(copy / "mended.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    logged = {row["source"] for row in rows}
    paired = load_dataset(copy)
    for case in (*paired.cases, *paired.test_cases):
        for path in (*case.images, case.label):
            assert path is None or path.relative_to(copy).as_posix() in {r["file"] for r in rows}
    of_shifted = {Path(row["file"]).parts[0]: row for row in rows if row["case"] == "shifted_30_mm"}
    assert of_shifted["labelsTr"]["action"] == "mended"
    assert "affine" in of_shifted["labelsTr"]["what"]
    assert of_shifted["imagesTr"]["action"] == "linked"
    left_out = {row["case"] for row in rows if row["action"] == "left out"}
    assert left_out == {"twice", "twice_turned", "tested_and_trained"}
    assert str(faulty / "imagesTr" / "twice.nii.gz") in logged
    stays = {row["case"] for row in rows if row["action"] == "not mended"}
    assert {"image_cut_off", "constant", "value_9", "interpolated"} <= stays


def test_what_it_would_do_is_known_before(report: Report) -> None:
    plan = {finding.kind: what for finding, what in planned(report)}
    assert "copied into the label map" in plan["label-shifted"]
    assert plan["image-constant"] == plan["label-elsewhere"] == ""


def test_a_copy_goes_nowhere_else_than_a_new_folder(
    report: Report, faulty: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_mended(report, tmp_path / "full")
    for out in (faulty, faulty / "copy"):
        with pytest.raises(OutputError, match="may not lie in the dataset"):
            write_mended(report, out)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert not (faulty / "copy").exists()
