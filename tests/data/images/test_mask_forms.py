"""Masks as NRRD, 3D Slicer's segmentations and MetaImage, for SimpleITK and byte by byte."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from gridgate.data.errors import OutputError
from gridgate.data.geometry.grids import Grid
from gridgate.data.images.names import MASK_SUFFIXES
from gridgate.data.images.reading import Image, read_image, read_labels
from gridgate.data.images.writing import write_labels
from gridgate.data.label_tables.table import LabelTable

SHAPE = (5, 6, 7)
ITK = [".nrrd", ".seg.nrrd", ".mha"]
LPS = np.diag([-1.0, -1.0, 1.0])


def affine_of(kind: str) -> NDArray[np.float64]:
    affine = np.eye(4)
    if kind == "plain":
        affine[:3, :3] = np.diag([-0.8, -0.7, 2.5])
    else:
        turn = nib.eulerangles.euler2mat(x=0.3, y=0.1, z=-0.7)
        affine[:3, :3] = turn @ np.diag([0.8, 0.7, 2.5])
        if kind == "mirrored":
            affine[:3, :3] = affine[:3, [2, 0, 1]] * [-1, 1, 1]
        if kind == "sheared":
            affine[0, 2] += 0.4
    affine[:3, 3] = [100.123, -90.7, 1 / 3]
    return affine


def scan(kind: str = "plain") -> Image:
    grid = Grid(SHAPE, affine_of(kind))
    return Image(np.empty((0, 0, 0)), grid, Path("scan"), None, ())


def random_labels(largest: int = 3) -> NDArray[np.int64]:
    labels = np.random.default_rng(1).integers(0, 3, SHAPE)
    labels[4, 5, 6] = largest
    return labels


@pytest.mark.parametrize("kind", ["plain", "turned", "mirrored", "sheared"])
@pytest.mark.parametrize("suffix", ITK)
def test_itk_reads_the_same_voxels_in_the_same_places(
    suffix: str, kind: str, tmp_path: Path
) -> None:
    like, labels = scan(kind), random_labels()
    write_labels(tmp_path / f"m{suffix}", labels, like=like)
    image = sitk.ReadImage(str(tmp_path / f"m{suffix}"))
    assert image.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 6), (4, 5, 6)):
        expected = like.grid.affine @ [*index, 1]
        point = LPS @ image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(point, expected[:3], atol=1e-9)
    again = read_labels(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(again.array, labels)
    np.testing.assert_allclose(again.grid.affine, like.grid.affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("largest", "pixel"),
    [
        (255, sitk.sitkUInt8),
        (256, sitk.sitkUInt16),
        (70_000, sitk.sitkUInt32),
        (2**40, sitk.sitkUInt64),
    ],
)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_large_values(largest: int, pixel: int, suffix: str, tmp_path: Path) -> None:
    labels = random_labels(largest)
    write_labels(tmp_path / f"m{suffix}", labels, like=scan())
    image = sitk.ReadImage(str(tmp_path / f"m{suffix}"))
    assert image.GetPixelID() == pixel
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)


@pytest.mark.parametrize("suffix", ITK)
def test_masks_are_small_and_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    like = Image(np.empty((0, 0, 0)), Grid((200, 150, 90), affine_of("plain")), Path("x"), None, ())
    labels = np.zeros((200, 150, 90), dtype=np.uint8, order="F")
    labels[50:90, 40:100, 20:70] = 1
    for name in ("one", "two"):
        write_labels(tmp_path / f"{name}{suffix}", labels[::-1], like=like)
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two and len(one) < labels.size / 40
    image = sitk.ReadImage(str(tmp_path / f"one{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels[::-1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_segments_of_slicer(order: Any, tmp_path: Path) -> None:
    """Keys as slicer.readthedocs.io's page on .seg.nrrd has them."""
    names = ["background", "left kidney", "foie & <é>", "a\\b\nc", "liver tumor"]
    table = LabelTable.of(names, {"foie & <é>": {"type": ["SCT", "10200004", "Liver"]}})
    labels = np.zeros(SHAPE, np.uint8, order=order)
    labels[1:3, 2, 3:6] = 1
    labels[4, 5, 6] = 4
    write_labels(tmp_path / "m.seg.nrrd", labels, like=scan("turned"), table=table)
    image = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    extents = ["1 2 2 2 3 5", "0 -1 0 -1 0 -1", "0 -1 0 -1 0 -1", "4 4 5 5 6 6"]
    for index, (name, extent) in enumerate(zip(names[1:], extents, strict=True)):
        segment = {
            key.partition("_")[2]: value
            for key, value in fields.items()
            if key.startswith(f"Segment{index}_")
        }
        assert segment["Name"] == name and segment["Extent"] == extent
        assert (segment["LabelValue"], segment["Layer"]) == (str(index + 1), "0")
        color = [round(float(one) * 255) for one in segment["Color"].split()]
        assert tuple(color) == table.labels[index + 1].color
        assert segment["NameAutoGenerated"] == segment["ColorAutoGenerated"] == "0"
    assert len({fields[f"Segment{index}_ID"] for index in range(4)}) == 4
    assert "Segment4_ID" not in fields
    begin = "Segmentation category and type - 3D Slicer General Anatomy list"
    middle = "Anatomic codes - DICOM master list"
    normal, abnormal = (
        "91723000^Anatomical Structure",
        "49755003^Morphologically Abnormal Structure",
    )
    assert [fields[f"Segment{index}_Tags"] for index in (0, 1, 3)] == [
        f"TerminologyEntry:{begin}~SCT^{normal}~SCT^64033007^Kidney~SCT^7771000^Left~{middle}~^^~^^|",
        f"TerminologyEntry:{begin}~SCT^{normal}~SCT^10200004^Liver~^^~{middle}~^^~^^|",
        f"TerminologyEntry:{begin}~SCT^{abnormal}~SCT^108369006^Neoplasm~^^~{middle}"
        "~SCT^10200004^Liver~^^|",
    ]
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert fields["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert fields["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert fields["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"


def test_segments_without_names_are_numbered(tmp_path: Path) -> None:
    write_labels(tmp_path / "m.seg.nrrd", random_labels(), like=scan())
    image = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert [image.GetMetaData(f"Segment{index}_Name") for index in range(3)] == ["1", "2", "3"]


def test_a_nrrd_file_is_what_its_header_says(tmp_path: Path) -> None:
    labels = random_labels(300)
    write_labels(tmp_path / "m.nrrd", labels, like=scan())
    head, _, voxels = (tmp_path / "m.nrrd").read_bytes().partition(b"\n\n")
    lines = head.decode("ascii").splitlines()
    assert lines[0].startswith("NRRD000") and "encoding: gzip" in lines
    assert {"type: uint16", "endian: little", "sizes: 5 6 7"} < set(lines)
    found = np.frombuffer(gzip.decompress(voxels), "<u2").reshape(SHAPE, order="F")
    np.testing.assert_array_equal(found, labels)


def test_a_real_scan_in_its_own_grid(shared_data: Path, tmp_path: Path) -> None:
    like = read_image(shared_data / "ct/totalsegmentator_3mm/ct.nii.gz")
    labels = (np.asarray(like.array) > 200).astype(np.uint8)
    nifti = nib.load(shared_data / "ct/totalsegmentator_3mm/ct.nii.gz")
    for suffix in MASK_SUFFIXES:
        write_labels(tmp_path / f"m{suffix}", labels, like=like)
        image = sitk.ReadImage(str(tmp_path / f"m{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
        last = tuple(size - 1 for size in nifti.shape)
        point = LPS @ image.TransformIndexToPhysicalPoint(last)
        np.testing.assert_allclose(point, (nifti.affine @ [*last, 1])[:3], atol=1e-3)


@pytest.mark.parametrize("name", ["m.img", "m.nrrd.gz", "m.mhd", "m", "m.nii.bz2"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.nii\.gz, \.nii, \.seg\.nrrd, \.nrrd, \.mha only"):
        write_labels(tmp_path / name, random_labels(), like=scan())
    assert not list(tmp_path.iterdir())
