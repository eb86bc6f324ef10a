"""The label table inside NIfTI masks, read by nibabel and an XML parser."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.errors import OutputError
from gridgate.data.images.reading import Image, read_image, read_labels
from gridgate.data.images.writing import write_labels
from gridgate.data.label_tables.caret import caret_extension
from gridgate.data.label_tables.table import LabelTable

NAMES = ["background", "left kidney", "a & b", "<tag attr='1'>", "foie é 肝臓 🫁", "x]]>y]]>", "]]"]
A = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
SHAPE = (5, 6, 7)


def content_of(extension: Any) -> bytes:
    """The bytes as stored; before nibabel 5.3 get_content gave them, since then it decodes."""
    return bytes(extension.content if hasattr(extension, "content") else extension.get_content())


def labels_of(content: bytes) -> list[ET.Element]:
    root = ET.fromstring(content)
    assert root.tag == "CaretExtension"
    (volume,) = root.findall("VolumeInformation")
    assert volume.get("Index") == "0" and volume.findtext("VolumeType") == "Label"
    return volume.findall("LabelTable/Label")


@pytest.fixture
def scan(tmp_path: Path) -> Image:
    image = nib.Nifti1Image(np.ones(SHAPE, np.int16), A)
    image.set_sform(A, 2)
    image.set_qform(A, 1)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"PATIENT^NAME"))
    nib.save(image, tmp_path / "scan.nii.gz")
    return read_image(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_names_and_colours_are_in_the_header(suffix: str, scan: Image, tmp_path: Path) -> None:
    table = LabelTable.of(NAMES)
    labels = np.random.default_rng(0).integers(0, 3, SHAPE)
    path = tmp_path / f"mask{suffix}"
    write_labels(path, labels, like=scan, table=table)
    image, before = nib.load(path), nib.load(scan.path)
    (extension,) = image.header.extensions
    assert extension.get_code() == 30
    found = labels_of(content_of(extension))
    assert [int(one.get("Key", "")) for one in found] == list(range(len(NAMES)))
    assert [one.text for one in found] == NAMES
    for one, label in zip(found, table, strict=True):
        parts = (one.get("Red"), one.get("Green"), one.get("Blue"))
        assert tuple(round(float(part or "") * 255) for part in parts) == label.color
        assert float(one.get("Alpha", "")) == (1 if label.value else 0)
    # and voxels and place are what they were
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)
    np.testing.assert_array_equal(read_labels(path).array, labels)
    for form in ("get_sform", "get_qform"):
        (affine, code), (expected, expected_code) = (
            getattr(each, form)(coded=True) for each in (image, before)
        )
        np.testing.assert_array_equal(affine, expected)
        assert code == expected_code
    itk = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk).T, labels)
    assert itk.GetOrigin() == sitk.ReadImage(str(scan.path)).GetOrigin()


def test_the_file_is_laid_out_as_the_standard_says(scan: Image, tmp_path: Path) -> None:
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3
    write_labels(tmp_path / "m.nii", labels, like=scan, table=LabelTable.of(NAMES))
    content = (tmp_path / "m.nii").read_bytes()
    offset = int(np.frombuffer(content, "<f4", 1, 108)[0])
    assert content[348:352] == b"\1\0\0\0" and offset % 16 == 0
    size, code = np.frombuffer(content, "<i4", 2, 352)
    assert size % 16 == 0 and code == 30 and 352 + size == offset
    assert b"\0" not in content[360:offset]  # a reader may hand all of it to its XML parser
    voxels = np.frombuffer(content, np.uint8, offset=offset)
    np.testing.assert_array_equal(voxels.reshape(SHAPE, order="F"), labels)


def test_nifti_2_has_it_too(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(np.ones(SHAPE, np.int16), A), tmp_path / "scan.nii")
    like = read_image(tmp_path / "scan.nii")
    write_labels(tmp_path / "m.nii.gz", np.ones(SHAPE, int), like=like, table=LabelTable.of(NAMES))
    image = nib.load(tmp_path / "m.nii.gz")
    assert isinstance(image, nib.Nifti2Image) and np.asanyarray(image.dataobj).all()
    assert len(labels_of(content_of(image.header.extensions[0]))) == len(NAMES)


def test_without_names_nothing_is_put_in(scan: Image, tmp_path: Path) -> None:
    write_labels(tmp_path / "m.nii", np.ones(SHAPE, int), like=scan)
    assert nib.load(tmp_path / "m.nii").header.extensions == []


def test_a_value_without_a_name_is_refused(scan: Image, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, int)
    labels[0, 0, 0] = 2
    with pytest.raises(OutputError, match="value 2, which has no name"):
        write_labels(
            tmp_path / "m.nii", labels, like=scan, table=LabelTable.of(["background", "a"])
        )
    assert not (tmp_path / "m.nii").exists()


@given(names=st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True))
def test_any_name_survives_but_for_what_xml_cannot_hold(names: list[str]) -> None:
    content = caret_extension(LabelTable.of(["background", *names]))
    assert (len(content) + 8) % 16 == 0
    found = [one.text for one in labels_of(content)][1:]
    for text, name in zip(found, names, strict=True):
        lines = name.replace("\r\n", "\n").replace("\r", "\n")  # as XML's parsers read them
        assert text == "".join(one if is_xml(one) else "\ufffd" for one in lines)


def is_xml(character: str) -> bool:
    """Whether XML 1.0 can hold it (its production 2)."""
    code = ord(character)
    ranges = ((0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
    return code in (9, 10) or any(first <= code <= last for first, last in ranges)
