"""BTCV, TotalSegmentator and Pancreas-CT in their own layouts."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.flips import find_flips
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.btcv import ORGANS
from gridgate.data.datasets.sources.layouts import layout_source
from gridgate.data.errors import ConfigError, DatasetError, ImageError
from gridgate.data.geometry.grids import Grid
from gridgate.data.images.image import Image
from gridgate.data.images.reading import read_image, read_labels
from gridgate.pipeline.cli.main import main

BTCV_TRAINING = [*range(1, 11), *range(21, 41)]


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-2.0, -2, 4, 1]) if affine is None else affine), path)
    return path


def btcv(root: Path) -> Path:
    for number in BTCV_TRAINING:
        nifti(root / f"RawData/Training/img/img{number:04d}.nii.gz", np.zeros((3, 3, 3), np.int16))
        nifti(root / f"RawData/Training/label/label{number:04d}.nii.gz", np.ones((3, 3, 3), "u1"))
    nifti(root / "RawData/Testing/img/img0061.nii.gz", np.zeros((3, 3, 3), np.int16))
    return root


def test_btcv_with_its_organs_and_splits(tmp_path: Path) -> None:
    found = layout_source(btcv(tmp_path / "in"))
    assert found is not None
    write_dataset(found, tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert len(dataset.cases) == 30
    assert [case.id for case in dataset.test_cases] == ["img0061"]
    assert (dataset.labels["spleen"], dataset.labels["liver"], dataset.labels["aorta"]) == (1, 6, 8)
    assert len(dataset.labels) == 1 + 13 == 1 + len(ORGANS)
    sizes = {}
    for name in ("splits/24_6.json", "splits/18_12.json", "splits.json"):
        folds = json.loads((tmp_path / "D" / name).read_text())
        sizes[name] = [(len(fold["train"]), len(fold["validation"])) for fold in folds]
    assert sizes["splits/24_6.json"] == [(24, 6)]
    assert sizes["splits/18_12.json"] == [(18, 12)]
    assert sizes["splits.json"] == [(24, 6)] * 5
    assert not write_dataset(found, tmp_path / "D").changed


def test_btcvs_organs_are_the_bundles() -> None:
    import yaml

    plan = Path(__file__).parents[4] / "bundles/datasets/btcv.yaml"
    assert yaml.safe_load(plan.read_text())["labels"] == ["background", *ORGANS]


def test_btcv_without_a_label_is_refused(tmp_path: Path) -> None:
    btcv(tmp_path)
    (tmp_path / "RawData/Training/label/label0007.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"img0007\.nii\.gz: the case 0007 lacks its label map"):
        layout_source(tmp_path)


def totalsegmentator(root: Path) -> Path:
    for subject in range(3):
        folder = root / f"s{subject:04d}"
        nifti(folder / "ct.nii.gz", np.full((4, 4, 4), 50, np.int16))
        for place, name in enumerate(("aorta", "liver", "spleen")):
            mask = np.zeros((4, 4, 4), np.uint8)
            mask[place] = 1
            nifti(folder / f"segmentations/{name}.nii.gz", mask)
    (root / "meta.csv").write_text(
        "image_id;age;split\ns0000;50;train\ns0001;60;val\ns0002;60;test\n"
    )
    return root


def test_totalsegmentator_with_a_subset_of_its_classes(tmp_path: Path) -> None:
    root = totalsegmentator(tmp_path / "in")
    found = layout_source(root, classes=["spleen", "aorta"])
    assert found is not None
    write_dataset(found, tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert dataset.labels == {"background": 0, "spleen": 1, "aorta": 2}
    array = read_labels(tmp_path / "D/labelsTr/s0001.nii.gz").array
    assert array[:, 0, 0].tolist() == [2, 0, 1, 0]
    official = json.loads((tmp_path / "D/splits/official.json").read_text())
    assert official == [{"train": ["s0000"], "validation": ["s0001"]}]
    everything = layout_source(root)
    assert everything is not None
    assert list(everything.labels) == ["background", "aorta", "liver", "spleen"]


def test_totalsegmentator_with_other_classes_makes_the_label_maps_anew(tmp_path: Path) -> None:
    root = totalsegmentator(tmp_path / "in")
    for classes in (["liver"], ["aorta", "liver"]):
        found = layout_source(root, classes=classes)
        assert found is not None
        done = write_dataset(found, tmp_path / "D")
    assert (done.made, done.kept) == (3, 3)
    array = read_labels(tmp_path / "D/labelsTr/s0000.nii.gz").array
    assert array[:, 0, 0].tolist() == [1, 2, 0, 0]


def test_totalsegmentator_lacking_a_mask_or_a_class(tmp_path: Path) -> None:
    root = totalsegmentator(tmp_path)
    with pytest.raises(ConfigError, match=r"no class 'livr'.*aorta, liver, spleen"):
        layout_source(root, classes=["livr"])
    (root / "s0002/segmentations/liver.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"s0002: lacks the masks liver\.nii\.gz"):
        layout_source(root)


def test_a_class_that_the_first_subject_lacks_is_not_dropped(tmp_path: Path) -> None:
    root = totalsegmentator(tmp_path / "in")
    (root / "s0000/segmentations/liver.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"s0000: lacks the masks liver\.nii\.gz") as told:
        layout_source(root)
    for advice in ("--classes", "--images '*/ct.nii.gz' --masks", '"*/segmentations/CLASS.nii.gz"'):
        assert advice in str(told.value)
    with pytest.raises(ConfigError, match=r"no class 'livr'.*aorta, liver, spleen"):
        layout_source(root, classes=["livr"])
    left = layout_source(root, classes=["aorta", "spleen"])  # what the text advises
    assert left is not None and list(left.labels) == ["background", "aorta", "spleen"]
    masks = ", ".join(f"{name}: '*/segmentations/{name}.nii.gz'" for name in ("aorta", "liver"))
    words = ["import", str(root), str(tmp_path / "D"), "--images", "*/ct.nii.gz"]
    assert main([*words, "--masks", f"{{{masks}}}"]) == 0
    assert load_dataset(tmp_path / "D").cases[0].annotated == ("aorta",)


def body(depth: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A CT in DICOM's order (x to the left, y to the back, z up), and its pancreas."""
    ct = np.full((24, 20, depth), -1000, np.int16)
    ct[2:22, 3:17] = -100  # fat
    ct[10:13, 13:16] = 700  # the spine, at the back
    pancreas = np.zeros(ct.shape, bool)
    pancreas[7:17, 6:8, 2:4] = True
    pancreas[15:17, 5:9, 3:5] = True
    ct[pancreas] = 90
    ct[4:8, 11:13, 5:] = 60  # something else of its density, at the back
    return ct, pancreas


def write_series(folder: Path, ct: np.ndarray) -> None:
    folder.mkdir(parents=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(ct.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID, one.StudyInstanceUID = series, study
        one.FrameOfReferenceUID, one.Modality = frame, "CT"
        one.ImagePositionPatient = [-24, -20, 4.0 * index]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [2, 2], 4
        one.Columns, one.Rows, one.InstanceNumber = *ct.shape[:2], index + 1
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.PixelRepresentation = 1
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        one.PixelData = np.ascontiguousarray(ct[:, :, index].T).astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"{index:03d}.dcm", one, enforce_file_format=True)


def pancreas_ct(root: Path, flipped: dict[int, tuple[int, ...]]) -> Path:
    ct, pancreas = body()
    for number, axes in flipped.items():
        write_series(root / f"Pancreas-CT/PANCREAS_{number:04d}/study/series", ct)
        label = np.flip(pancreas, axes).astype(np.uint8)
        nifti(root / f"TCIA_pancreas_labels/label{number:04d}.nii.gz", label, np.eye(4))
    return root


@pytest.mark.parametrize("axes", [(1,), (1, 2), (), (0, 1)])
def test_pancreas_labels_are_turned_to_where_the_pancreas_is(
    tmp_path: Path, axes: tuple[int, ...]
) -> None:
    found = layout_source(pancreas_ct(tmp_path / "in", {1: axes}))
    assert found is not None
    write_dataset(found, tmp_path / "D")
    image = read_image(tmp_path / "D/imagesTr/pancreas_0001.nii.gz")
    label = read_labels(tmp_path / "D/labelsTr/pancreas_0001.nii.gz")
    ct, pancreas = body()
    assert np.array_equal(image.array, ct)
    assert np.array_equal(label.array > 0, pancreas)
    assert np.allclose(label.grid.affine, image.grid.affine)
    record = json.loads((tmp_path / "D/import.json").read_text())
    said = record["files"]["labelsTr/pancreas_0001.nii.gz"]["notes"][0]
    assert "100% of its voxels are soft tissue (mean 90 HU)" in said
    assert record["licence"] == "CC BY 3.0"


def test_withdrawn_cases_are_left_out_with_the_reason(tmp_path: Path) -> None:
    found = layout_source(pancreas_ct(tmp_path / "in", {1: (1,), 25: (1,), 70: (1,)}))
    assert found is not None
    assert [case.id for case in found.cases] == ["pancreas_0001"]
    assert sum("withdrawn by TCIA" in note for note in found.notes) == 2


def test_a_patient_without_a_label_is_refused(tmp_path: Path) -> None:
    root = pancreas_ct(tmp_path, {1: (1,), 2: (1,)})
    (root / "TCIA_pancreas_labels/label0002.nii.gz").unlink()
    with pytest.raises(DatasetError, match="PANCREAS_0002 lacks its label NIfTI"):
        layout_source(root)


def test_flips_that_are_not_proved_are_refused() -> None:
    ct, pancreas = body()
    image = Image(ct, Grid(ct.shape, np.diag([-2.0, -2, 4, 1])), Path("ct"), None, ())
    symmetric = pancreas | np.flip(pancreas, 0)
    with pytest.raises(ImageError, match="not proved"):
        find_flips(symmetric, image, Path("label.nii.gz"))
    everywhere = np.ones_like(pancreas)
    with pytest.raises(ImageError, match="not proved"):
        find_flips(everywhere, image, Path("label.nii.gz"))
    with pytest.raises(ImageError, match="its shape"):
        find_flips(pancreas[:-1], image, Path("label.nii.gz"))


def test_a_folder_of_no_known_layout(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz", np.zeros((3, 3, 3), np.int16))
    assert layout_source(tmp_path) is None
    with pytest.raises(ConfigError, match="TotalSegmentator"):
        layout_source(tmp_path, classes=["liver"])
