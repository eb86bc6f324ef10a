"""Names of label values from other programs' tables, and from our own."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.label_tables.caret import caret_extension
from gridgate.data.label_tables.files import label_files
from gridgate.data.label_tables.reading import is_table, read_caret, read_table
from gridgate.data.label_tables.table import LabelTable

SNAP = """\
################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "left kidney"
    7     0  255    0      0.5  1  0    "Tumour (2)"
"""
SLICER = """\
# Color table file organs.ctbl
# 3 values
0 Background 0 0 0 0
1 left_kidney 221 130 101 255
12 spleen 157 108 162 255
"""


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("snap.label", SNAP, {1: "left kidney", 7: "Tumour (2)"}),
        ("organs.ctbl", SLICER, {1: "left_kidney", 12: "spleen"}),
        ("labels.json", '{"labels": {"background": 0, "liver": 3}}', {3: "liver"}),
        ("dataset.json", '{"labels": {"0": "background", "2": "gut"}}', {2: "gut"}),
        ("labels.json", '{"labels": {"background": 0, "2": 1, "1": 2}}', {1: "2", 2: "1"}),
        ("labels.json", '{"labels": {"0": "background", "3": "liver"}}', {3: "liver"}),
        ("labels.json", '{"labels": {"whole": [1, 2], "core": 2}}', {2: "core"}),
        ("labels.json", "no JSON", {}),
        ("dataset.json", '{"labels": {"whole": [1, 2]}}', {}),
        ("notes.label", "1 liver", {}),
    ],
)
def test_tables_of_other_programs(
    tmp_path: Path, name: str, text: str, names: dict[int, str]
) -> None:
    (tmp_path / name).write_text(text)
    assert is_table(tmp_path / name)
    assert read_table(tmp_path / name) == names


def test_our_own_tables_come_back(tmp_path: Path) -> None:
    table = LabelTable.of(["background", "liver", "left kidney"])
    for name, content in label_files(table, file_ending=".nii.gz", channels=["CT"]).items():
        (tmp_path / name).write_bytes(content)
        found = {value: one.replace("_", " ") for value, one in read_table(tmp_path / name).items()}
        assert found == {1: "liver", 2: "left kidney"}, name


def test_names_in_a_nifti_file(tmp_path: Path) -> None:
    table = LabelTable.of(["background", "liver & more", "gut"])
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(30, caret_extension(table)))
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_caret(tmp_path / "a.nii.gz") == {1: "liver & more", 2: "gut"}


@pytest.mark.parametrize(
    "content",
    [b"<no xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a><Label Key='1'>&b;</Label></a>", b""],
)
def test_extensions_that_are_no_names(tmp_path: Path, content: bytes) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(30, content))
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_caret(tmp_path / "a.nii.gz") == {}


def test_a_damaged_file_has_no_names(tmp_path: Path) -> None:
    head = b"\x1f\x8b\x08" + bytes(7)  # of gzip, and nothing that can be inflated after it
    (tmp_path / "a.nii.gz").write_bytes(head + b"\xff" * 500)
    assert read_caret(tmp_path / "a.nii.gz") == {}
