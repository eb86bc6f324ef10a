"""One run over whatever a user may have: folders, DICOM, a zip of it, a list."""

import csv
import shutil
import zipfile
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from gridgate.data.phantom.dataset import write_phantom_scans

from ..small_bundle import infer
from .test_inferring import weights

ORGANS = ["liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "cases.csv", newline="") as file:
        return {row["case"] or row["input"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def dicom(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series, a zip of it, one with segmentations beside its slices; and masks."""
    folder = tmp_path_factory.mktemp("dicom")
    series = shared_data / "dicom" / "abdomen_20_slices"
    shutil.copytree(series, folder / "scans" / "patient" / "CT")
    three = shared_data / "dicom" / "three_slices_with_dicom_seg"
    shutil.copytree(three, folder / "scans" / "three", ignore=shutil.ignore_patterns("*.nrrd"))
    with zipfile.ZipFile(folder / "scans" / "zipped.zip", "w") as archive:
        for path in sorted(series.iterdir()):
            archive.write(path, f"some/where/{path.name}")
    infer(
        folder / "scans",
        folder / "masks",
        load_pretrain=False,
        dicom_seg=True,
        probabilities=["spleen"],
    )
    return folder


def series_of(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_each_series_has_its_mask_in_its_own_grid(dicom: Path) -> None:
    found = table(dicom / "masks")
    assert {name for name, row in found.items() if row["status"] == "ok"} == {
        "patient/CT",
        "three",
        "zipped",
    }
    passed = [row for row in found.values() if row["status"] == "passed over"]
    assert len(passed) == 2 and all(
        "a segmentation (SEG), not a scan" in row["reason"] for row in passed
    )
    scan = series_of(dicom / "scans" / "patient" / "CT")
    for name in ("patient/CT", "zipped"):
        mask = sitk.ReadImage(str(dicom / "masks" / f"{name}.nii.gz"))
        assert mask.GetSize() == scan.GetSize() and mask.GetPixelID() == sitk.sitkUInt8
        for part in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(mask, part)(), getattr(scan, part)(), atol=1e-3)
    a, b = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(dicom / "masks" / f"{n}.nii.gz")))
        for n in ("patient/CT", "zipped")
    )
    np.testing.assert_array_equal(a, b)


def test_mean_hu_is_that_of_the_scan(dicom: Path) -> None:
    scan = sitk.GetArrayFromImage(series_of(dicom / "scans" / "patient" / "CT")).astype(np.float64)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(dicom / "masks" / "patient" / "CT.nii.gz")))
    row = table(dicom / "masks")["patient/CT"]
    assert mask.any()
    for value, organ in enumerate(ORGANS, start=1):
        inside = mask == value
        assert int(row[f"{organ}_voxels"]) == inside.sum()
        if inside.any():
            assert float(row[f"{organ}_hu"]) == pytest.approx(scan[inside].mean(), abs=0.01)
        else:
            assert row[f"{organ}_hu"] == ""


def test_dicom_seg_holds_the_mask(dicom: Path) -> None:
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(dicom / "masks" / "three.nii.gz")))
    written = hd.seg.segread(str(dicom / "masks" / "three.seg.dcm"))
    slices = [pydicom.dcmread(dicom / "scans" / "three" / f"0{number}.dcm") for number in (1, 2, 3)]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    assert mask.any() and mask.shape == (3, slices[0].Rows, slices[0].Columns)
    pixels: NDArray[np.generic] = written.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in slices], assert_missing_frames_are_empty=True
    )
    for segment in written.SegmentSequence:
        value = ORGANS.index(segment.SegmentLabel) + 1
        np.testing.assert_array_equal(
            pixels[..., int(segment.SegmentNumber) - 1] > 0, mask == value
        )
    assert (pixels.sum(-1) == (mask > 0)).all(), "nothing of the mask is missing"


def test_probabilities_lie_in_the_scans_grid_and_fit_the_labels(dicom: Path) -> None:
    path = dicom / "masks" / "probabilities" / "spleen" / "patient" / "CT.nii.gz"
    chances, mask = nib.load(path), nib.load(dicom / "masks" / "patient" / "CT.nii.gz")
    np.testing.assert_array_equal(chances.affine, mask.affine)
    assert chances.get_data_dtype() == np.uint8 and chances.shape == mask.shape
    values, labels = np.asarray(chances.dataobj), np.asarray(mask.dataobj)
    assert values.min() >= 0 and values.max() <= 1.0001
    if (labels == 2).any():
        assert values[labels == 2].mean() > values[labels != 2].mean()


def test_folders_in_folders_and_lists(tmp_path: Path) -> None:
    scans, model = tmp_path / "scans", str(weights(tmp_path / "model.pt", seed=0))
    write_phantom_scans(scans / "monday", cases=1, seed=1000, broken=False)
    write_phantom_scans(scans / "tuesday" / "late", cases=1, seed=1000, broken=False)
    infer(scans, tmp_path / "deep", checkpoint=model)
    assert set(table(tmp_path / "deep")) == {"monday/scan_1000", "tuesday/late/scan_1000"}
    assert (tmp_path / "deep" / "tuesday" / "late" / "scan_1000.nii.gz").is_file()
    infer(scans, tmp_path / "flat", checkpoint=model, flat=True)
    assert (tmp_path / "flat" / "tuesday_late_scan_1000.nii.gz").is_file()
    (tmp_path / "list.csv").write_text("id,image\nfirst,scans/monday/scan_1000.nii.gz\n")
    infer(tmp_path / "list.csv", tmp_path / "listed", checkpoint=model)
    assert list(table(tmp_path / "listed")) == ["first"]
    np.testing.assert_array_equal(
        np.asarray(nib.load(tmp_path / "listed" / "first.nii.gz").dataobj),
        np.asarray(nib.load(tmp_path / "deep" / "monday" / "scan_1000.nii.gz").dataobj),
    )


def test_an_ensemble_of_checkpoints_and_a_region(tmp_path: Path) -> None:
    scans = write_phantom_scans(tmp_path / "scans", cases=1, broken=False)
    models = [str(weights(tmp_path / f"{seed}.pt", seed=seed)) for seed in (0, 1)]
    for name, checkpoint in (
        ("one", models[0]),
        ("other", models[1]),
        ("both", models),
        ("twice", [models[0]] * 2),
    ):
        infer(scans, tmp_path / name, checkpoint=checkpoint)
    masks = {
        name: np.asarray(nib.load(tmp_path / name / "scan_1000.nii.gz").dataobj)
        for name in ("one", "other", "both")
    }
    assert (masks["both"] != masks["one"]).any() and (masks["both"] != masks["other"]).any()
    assert "+" in table(tmp_path / "both")["scan_1000"]["checkpoint"]
    affine = nib.load(scans / "scan_1000.nii.gz").affine
    shape = masks["one"].shape
    corners = nib.affines.apply_affine(
        affine, [[0, 0, 0], [shape[0] - 1, shape[1] - 1, shape[2] / 4]]
    ).tolist()
    infer(
        scans,
        tmp_path / "part",
        checkpoint=models[0],
        region=corners,
        body_threshold=None,
        spacing=[5.0] * 3,
    )
    row = table(tmp_path / "part")["scan_1000"]
    assert int(row["windows_skipped"]) > 0
    part = np.asarray(nib.load(tmp_path / "part" / "scan_1000.nii.gz").dataobj)
    assert not (part[..., -1] > 0).any(), "no window ran there"


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it is ours: traced, and run as traced; to compile takes PyTorch half a minute."""
    from gridgate.pipeline.inference.sliding_window import SlidingWindow

    traced, compiling = [], torch.compile

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        traced.append(graph)
        return graph.forward

    def compile(network: torch.nn.Module, **options: object) -> object:
        return compiling(network, backend=backend, **options)

    monkeypatch.setattr(torch, "compile", compile)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 3, 1)
    ).eval()
    image = torch.randn(1, 1, 40, 20, 20)
    plain = SlidingWindow((16, 16, 16), amp=False)(image, network)
    compiled = SlidingWindow((16, 16, 16), amp=False, engine="compile")(image, network)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-4)
    assert traced
