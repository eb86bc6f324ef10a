"""Real scans through the user's-folder and the nnU-Net path; DICOM series with DICOM SEG."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.datasets.check import check_dataset
from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.segments import read_segmentation, segments
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.nnunet import nnunet_source
from gridgate.data.errors import ImageError
from gridgate.data.images.reading import read_grid, read_image, read_labels
from gridgate.pipeline.cli.main import main


def linked(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def test_head_and_neck_from_a_plain_folder_with_odd_names(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = shared_data / "openkbp_head_neck"
    for path in sorted((real / "labelsTr").iterdir())[:5]:
        name = path.name.removesuffix(".nii.gz")
        linked(real / "imagesTr" / path.name, tmp_path / "in/img" / f"Pät {name} CT.nii.gz")
        linked(path, tmp_path / "in/seg" / f"Pät {name} RTSS.nii.gz")
    names = "{brainstem: 1, spinal_cord: 2, right_parotid: 3, left_parotid: 4, mandible: 5}"
    words = ["import", str(tmp_path / "in"), str(tmp_path / "D"), "--label_names", names]
    assert main([*words, "--yes"]) == 0
    assert "5 cases; labels brainstem, spinal_cord" in capsys.readouterr().out
    dataset = load_dataset(tmp_path / "D")
    assert dataset.channel_names == ("CT",)
    assert dataset.cases[0].id.startswith("Pät ")
    check_dataset(tmp_path / "D", folds=2)


def test_hippocampus_from_nnunets_raw_layout(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "msd_hippocampus"
    root = tmp_path / "Dataset004_Hippocampus"
    for path in sorted((real / "labelsTr").iterdir())[:4]:
        name = path.name.removesuffix(".nii.gz")
        linked(real / "imagesTr" / path.name, root / "imagesTr" / f"{name}_0000.nii.gz")
        linked(path, root / "labelsTr" / path.name)
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    write_dataset(nnunet_source(root), tmp_path / "D")
    case = load_dataset(tmp_path / "D").cases[0]
    original = read_image(real / "imagesTr" / f"{case.id}.nii.gz")
    assert np.array_equal(read_image(case.images[0]).array, original.array)
    check_dataset(tmp_path / "D", folds=2)


def test_a_dicom_series_with_a_dicom_seg(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "dicom/three_slices_with_dicom_seg"
    for number in ("01", "02", "03"):
        linked(real / f"{number}.dcm", tmp_path / "in/pat 1/CT" / f"{number}.dcm")
    linked(real / "liver.dcm", tmp_path / "in/pat 1/SEG/liver.dcm")
    words = ["import", str(tmp_path / "in"), str(tmp_path / "D")]
    assert main([*words, "--images", "*/CT", "--labels", "*/SEG"]) == 0
    dataset = load_dataset(tmp_path / "D")
    assert dataset.labels == {"background": 0, "Liver": 1}
    image, label = (tmp_path / "D" / part / "pat 1.nii.gz" for part in ("imagesTr", "labelsTr"))
    made = read_labels(label)
    assert np.allclose(made.grid.affine, read_grid(image).affine, atol=1e-3)
    twin = sitk.ReadImage(str(real / "liver_seg.nrrd"))
    assert int(made.array.sum()) == int((sitk.GetArrayFromImage(twin) > 0).sum())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "in/pat 1/CT")))
    values = sitk.GetArrayFromImage(reader.Execute())
    inside = sitk.GetArrayFromImage(twin) > 0
    ours = read_image(image).array[made.array > 0]
    assert sorted(ours.tolist()) == sorted(values[inside].tolist())


def test_dicom_seg_frame_by_frame_as_its_nrrd_twin(shared_data: Path) -> None:
    real = shared_data / "dicom/three_slices_with_dicom_seg"
    ours = read_segmentation(real / "liver.dcm")
    twin = read_labels(real / "liver_seg.nrrd")
    centres = []
    for image in (ours, twin):
        indices = np.argwhere(image.array > 0)
        centres.append(indices @ image.grid.affine[:3, :3].T + image.grid.affine[:3, 3])
    assert len(centres[0]) == len(centres[1])
    assert np.allclose(centres[0].mean(axis=0), centres[1].mean(axis=0), atol=0.01)
    assert np.allclose(centres[0].min(axis=0), centres[1].min(axis=0), atol=0.01)


@pytest.mark.parametrize(
    "name",
    [
        "dicom/three_slices_with_dicom_seg/partial_overlaps.dcm",
        "ct/chest_10mm_nrrd/SegmentationOverlapping.seg.nrrd",
    ],
)
def test_segments_that_overlap_are_refused_with_their_names(shared_data: Path, name: str) -> None:
    known = [segment.name for segment in segments(shared_data / name)]
    with pytest.raises(ImageError, match="overlap in") as refused:
        read_segmentation(shared_data / name)
    assert sum(f"'{segment}'" in str(refused.value) for segment in known) == 2


def test_a_chest_with_its_segmentation(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "ct/chest_10mm_nrrd"
    linked(real / "CTChest4.nrrd", tmp_path / "in/chest/CTChest4.nrrd")
    linked(real / "Segmentation.seg.nrrd", tmp_path / "in/chest/Segmentation.seg.nrrd")
    assert main(["import", str(tmp_path / "in"), str(tmp_path / "D"), "--yes"]) == 0
    dataset = load_dataset(tmp_path / "D")
    assert list(dataset.labels)[:3] == ["background", "ribs", "cervical vertebral column"]
    assert dataset.cases[0].images[0].resolve() == (real / "CTChest4.nrrd").resolve()
    check_dataset(tmp_path / "D", part="all")


def test_chaos_dicom_with_its_label_map(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "dicom/chaos03_dicom_and_png.tar.gz") as archive:
        members = [one for one in archive.getmembers() if one.name.lower().endswith(".dcm")]
        (tmp_path / "in/3/DICOM").mkdir(parents=True)
        for member in members:
            stream = archive.extractfile(member)
            assert stream is not None
            with open(tmp_path / "in/3/DICOM" / Path(member.name).name, "wb") as target:
                shutil.copyfileobj(stream, target)
    linked(shared_data / "dicom/chaos03_liver.nii.gz", tmp_path / "in/3/liver.nii.gz")
    words = ["import", str(tmp_path / "in"), str(tmp_path / "D"), "--label_names", "{liver: 1}"]
    assert main([*words, "--images", "*/DICOM", "--labels", "*/liver.nii.gz"]) == 0
    image = read_image(tmp_path / "D/imagesTr/3.nii.gz")
    label = read_labels(tmp_path / "D/labelsTr/3.nii.gz")
    assert image.array.shape == label.array.shape == (512, 512, 78)
    assert 80 < float(np.median(image.array[label.array > 0])) < 200  # an enhanced liver, in HU
    check_dataset(tmp_path / "D", part="all")
