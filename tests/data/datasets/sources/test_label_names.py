"""What the labels of a folder are called, and where their values come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.data.images.reading import read_image, read_labels

from .scan_folders import ct, labels, nifti, scans, seg_nrrd, source


def test_names_in_segmentations_win_over_values(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / f"{name}/ct.nii.gz", ct(0))
    seg_nrrd(tmp_path / "a/s.seg.nrrd", labels(1, 2), {1: "liver", 2: "left kidney"})
    seg_nrrd(tmp_path / "b/s.seg.nrrd", labels(2, 1, 4), {1: "Left Kidney", 2: "liver", 4: "gut"})
    found = source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd")
    assert found.labels == {"background": 0, "liver": 1, "left kidney": 2, "gut": 3}
    assert any("names win" in note for note in found.notes)
    assert any("1 of 2 label maps do not name 'gut'" in note for note in found.notes)
    write_dataset(found, tmp_path / "D")
    assert (tmp_path / "D/labelsTr/a.seg.nrrd").is_symlink()
    array = read_labels(tmp_path / "D/labelsTr/b.nii.gz").array
    assert array[:, 0, 0].tolist() == [1, 2, 3, 0, 0, 0]


def test_given_names_decide_the_values_of_segments(tmp_path: Path) -> None:
    nifti(tmp_path / "a/ct.nii.gz", ct(0))
    seg_nrrd(tmp_path / "a/s.seg.nrrd", labels(1, 2), {1: "liver", 2: "gut"})
    with pytest.raises(ConfigError, match="does not name 'gut'"):
        source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd", {"liver": 7})
    found = source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd", {"liver": 7, "gut": 0})
    write_dataset(found, tmp_path / "D")
    assert load_dataset(tmp_path / "D").labels == {"background": 0, "liver": 7}
    assert set(np.unique(read_labels(tmp_path / "D/labelsTr/a.nii.gz").array)) == {0, 7}


def test_names_come_from_a_table_beside(tmp_path: Path) -> None:
    scans(tmp_path)
    (tmp_path / "seg/colors.ctbl").write_text("0 bg 0 0 0 0\n1 liver 1 2 3 255\n2 gut 1 2 3 255\n")
    assert source(tmp_path).labels == {"background": 0, "liver": 1, "gut": 2}


def test_names_come_from_our_own_masks(tmp_path: Path) -> None:
    from gridgate.data.images.writing import write_labels
    from gridgate.data.label_tables.table import LabelTable

    scans(tmp_path, ("a",))
    image = read_image(tmp_path / "img/a CT.nii.gz")
    table = LabelTable.of(["background", "liver", "left kidney"])
    write_labels(tmp_path / "seg/a RTSS.nii.gz", labels(1, 2), like=image, table=table)
    assert source(tmp_path).labels == {"background": 0, "liver": 1, "left kidney": 2}


def test_values_without_names_are_found_and_numbered(tmp_path: Path) -> None:
    scans(tmp_path)
    nifti(tmp_path / "seg/p.2 RTSS.nii.gz", labels(1, 9).astype(np.float32))
    found = source(tmp_path)
    assert found.labels == {"background": 0, "label_1": 1, "label_2": 2, "label_9": 9}
    assert any("--label_names" in note for note in found.notes)


def test_masks_compose_a_label_map(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / name / "liver.nii.gz", labels(1, 1, 0))
    nifti(tmp_path / "a" / "tumour.nii.gz", labels(0, 255, 0))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    write_dataset(source(tmp_path, "*/ct.nii.gz", None, None, masks), tmp_path / "D")
    first, second = (read_labels(tmp_path / f"D/labelsTr/{name}.nii.gz").array for name in "ab")
    assert first[:, 0, 0].tolist() == [1, 2, 0, 0, 0, 0]
    assert second[:, 0, 0].tolist() == [1, 1, 0, 0, 0, 0]


def test_a_case_that_lacks_a_mask_says_so(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / name / "liver.nii.gz", labels(1))
    nifti(tmp_path / "a" / "tumour.nii.gz", labels(1))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    found = source(tmp_path, "*/ct.nii.gz", None, {"liver": 4, "tumour": 2}, masks)
    assert found.labels == {"background": 0, "liver": 4, "tumour": 2}
    assert found.cases[0].notes == ()
    assert "no mask of tumour" in found.cases[1].notes[0]
    with pytest.raises(ConfigError, match="tumour"):
        source(tmp_path, "*/ct.nii.gz", None, {"liver": 2}, masks)


def test_a_missing_mask_is_declared_as_not_annotated(tmp_path: Path) -> None:
    """And a source's own word on the case comes before that."""
    for name in ("a", "b", "c"):
        nifti(tmp_path / "in" / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / "in" / name / "liver.nii.gz", labels(1))
    nifti(tmp_path / "in" / "a" / "tumour.nii.gz", labels(1))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    found = source(tmp_path / "in", "*/ct.nii.gz", None, None, masks)
    write_dataset(found, tmp_path / "D")
    cases = {case.id: case.annotated for case in load_dataset(tmp_path / "D").cases}
    assert cases == {"a": None, "b": ("liver",), "c": ("liver",)}
    told = replace(found, annotated={"b": ["liver", "tumour"]})
    assert write_dataset(told, tmp_path / "D").changed
    cases = {case.id: case.annotated for case in load_dataset(tmp_path / "D").cases}
    assert cases == {"a": None, "b": None, "c": ("liver",)}
    with pytest.raises(DatasetError, match="fits no case"):
        replace(found, annotated={"x*": ["liver"]})
