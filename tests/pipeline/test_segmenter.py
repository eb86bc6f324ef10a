"""Masks in memory are those of the command line, whatever holds the image; from threads too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

import gridgate
from gridgate.data.errors import CheckpointError, ConfigError, GridgateError, ImageError
from gridgate.data.phantom.dataset import write_phantom_scans
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.segmenter import Segmenter

from .reports.test_report_inputs import write_dicom

BUNDLE = "phantom_attention_unet"
# auto may find another engine once the network has run for long, and single voxels differ
SETTINGS: dict[str, Any] = {"overlap": 0.1, "amp": False, "engine": "torch"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four phantoms, stored in different orders of axes, one of them oblique."""
    folder = write_phantom_scans(tmp_path_factory.mktemp("scans"), cases=4, broken=False)
    return sorted(folder.glob("*.nii.gz"))


@pytest.fixture(scope="module")
def masks(scans: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the command line, by the bundle's own weights."""
    folder = tmp_path_factory.mktemp("masks")
    words = ["infer", BUNDLE, str(scans[0].parent), str(folder), "--device", "cpu"]
    for name, value in SETTINGS.items():
        words += [f"--{name}", json.dumps(value)]
    assert main([*words, "--report", "False"]) == 0
    return folder


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(BUNDLE, device="cpu", settings=SETTINGS)


def of_command(masks: Path, scan: Path) -> np.ndarray:
    return np.asarray(nib.load(masks / scan.name).dataobj)


def held(scan: Path) -> dict[str, tuple[Any, Any]]:
    """The scan as programs hold it: image and affine."""
    image = nib.load(scan)
    array = np.asarray(image.dataobj)
    channels_first = torch.as_tensor(np.asarray(array, np.float32))[None]
    return {
        "path": (scan, None),
        "text": (str(scan), None),
        "nibabel": (image, None),
        "nibabel with an axis more": (nib.Nifti1Image(array[..., None], image.affine), None),
        "SimpleITK": (sitk.ReadImage(str(scan)), None),
        "MetaTensor": (MetaTensor(channels_first, affine=torch.as_tensor(image.affine)), None),
        "array": (array, image.affine),
        "tensor": (torch.as_tensor(np.asarray(array, np.float32)), image.affine),
    }


def test_all_forms_give_the_mask_of_the_command_line(
    segmenter: Segmenter, scans: list[Path], masks: Path
) -> None:
    some = ("path", "SimpleITK", "MetaTensor")
    for scan, forms in ((scans[0], some), (scans[1], tuple(held(scans[1])))):
        want = of_command(masks, scan)
        assert len(np.unique(want)) > 3
        for name, (image, affine) in held(scan).items():
            if name not in forms:
                continue
            found = segmenter(image, affine)
            np.testing.assert_array_equal(found.labels, want, err_msg=name)
            assert found.labels.dtype == np.uint8
            np.testing.assert_allclose(found.affine, nib.load(scan).affine, atol=1e-4)


def test_four_threads_on_four_scans(segmenter: Segmenter, scans: list[Path], masks: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter, [*scans, *reversed(scans)]))
    for one, scan in zip(found, [*scans, *reversed(scans)], strict=True):
        np.testing.assert_array_equal(one.labels, of_command(masks, scan))


def test_what_it_tells(segmenter: Segmenter, scans: list[Path], tmp_path: Path) -> None:
    found = segmenter(scans[0])
    assert found.names[1] == "liver" and len(found.names) == 6 and not found.regions
    voxel = abs(np.linalg.det(found.affine[:3, :3])) / 1000
    for value, name in found.names.items():
        assert found.volumes_ml[name] == pytest.approx((found.labels == value).sum() * voxel)
    assert {"read", "resample", "forward", "restore"} <= set(found.seconds)
    nib.save(found.nifti(), tmp_path / "a.nii.gz")
    sitk.WriteImage(found.sitk(), str(tmp_path / "b.nii.gz"))
    for name in ("a", "b"):
        again = nib.load(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(again.dataobj), found.labels)
        np.testing.assert_allclose(again.affine, nib.load(scans[0]).affine, atol=1e-4)


def test_a_dicom_folder(segmenter: Segmenter, tmp_path: Path) -> None:
    write_dicom(tmp_path / "series")
    found = segmenter(tmp_path / "series")
    assert found.labels.shape == (24, 20, 6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds 0 CT series"):
        segmenter(tmp_path / "empty")


def test_a_dicom_folder_of_the_bundles_modality(segmenter: Segmenter, tmp_path: Path) -> None:
    """As `gridgate infer` finds it; a CT is not handed to a network for MR."""
    write_dicom(tmp_path / "series")
    of_mr = Segmenter("msd_hippocampus_attention_unet", device="cpu", settings={"engine": "torch"})
    with pytest.raises(ConfigError, match=r"holds 0 MR series, beside others .*CT, not MR"):
        of_mr(tmp_path / "series")
    for file in (tmp_path / "series").iterdir():
        data = pydicom.dcmread(file)
        data.Modality = "MR"
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        data.save_as(file)
    assert of_mr(tmp_path / "series").labels.shape == (24, 20, 6)
    with pytest.raises(ConfigError, match="holds 0 CT series"):
        segmenter(tmp_path / "series")


def test_nibabel_images_as_of_their_files(segmenter: Segmenter, scans: list[Path]) -> None:
    """Without an affine of its own; and two channels as ITK writes vectors are refused as two."""
    scan = nib.load(scans[0])
    array = np.asarray(scan.dataobj)
    bare = nib.Nifti1Image(array, None, scan.header)
    np.testing.assert_array_equal(segmenter(bare).labels, segmenter(scans[0]).labels)
    vectors = nib.Nifti1Image(np.stack([array, array], -1)[:, :, :, None], scan.affine)
    with pytest.raises(GridgateError, match=r"the axes \(2, 105"):
        segmenter(vectors)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_lengths_in_other_units(
    unit: str, factor: float, segmenter: Segmenter, scans: list[Path], tmp_path: Path
) -> None:
    """As nibabel holds it, in the unit of its header; its file gives the same."""
    scan = nib.load(scans[0])
    affine = np.diag([factor, factor, factor, 1.0]) @ scan.affine
    other = nib.Nifti1Image(np.asarray(scan.dataobj), affine)
    other.header.set_xyzt_units(unit)
    nib.save(other, tmp_path / "other.nii.gz")
    expected = segmenter(scans[0])
    for held in (other, nib.load(tmp_path / "other.nii.gz"), tmp_path / "other.nii.gz"):
        found = segmenter(held)
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-3)
        assert (found.labels == expected.labels).mean() > 0.999
        assert found.volumes_ml == pytest.approx(expected.volumes_ml, rel=0.01)


def test_what_is_odd_about_a_header_is_told_as_of_its_file(
    segmenter: Segmenter, scans: list[Path], tmp_path: Path
) -> None:
    image = nib.load(scans[0])
    guessed = nib.Nifti1Image(np.asarray(image.dataobj), None)
    guessed.header.set_zooms(image.header.get_zooms()[:3])
    nib.save(guessed, tmp_path / "ct.nii.gz")
    read = nib.load(tmp_path / "ct.nii.gz")
    found, of_file = segmenter(read), segmenter(tmp_path / "ct.nii.gz")
    assert "check left and right" in of_file.notes
    assert found.notes == of_file.notes and found.hints == of_file.hints
    assert np.allclose(found.affine, of_file.affine)
    assert np.array_equal(found.labels, of_file.labels)


def test_what_cannot_be_is_an_error_of_ours(
    segmenter: Segmenter, scans: list[Path], tmp_path: Path
) -> None:
    array = np.asarray(nib.load(scans[0]).dataobj)
    with pytest.raises(ConfigError, match="give its affine"):
        segmenter(array)
    with pytest.raises(ConfigError, match="an affine of its own"):
        segmenter(nib.load(scans[0]), np.eye(4))
    for wrong in (np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(ConfigError, match="three axes"):
            segmenter(array, wrong)
    with pytest.raises(ImageError, match=r"none\.nii\.gz"):
        segmenter(tmp_path / "none.nii.gz")
    with pytest.raises(GridgateError):
        segmenter(np.full((20, 20, 20), np.nan, np.float32), np.eye(4))
    with pytest.raises(ConfigError, match="2 dimensions"):
        segmenter(sitk.Image([4, 4], sitk.sitkInt16))
    image = nib.load(scans[0])
    for wrong in (array[None], np.stack([array] * 2, -1)):
        with pytest.raises(ImageError, match="the axes"):  # as of a file: channels come last
            segmenter(nib.Nifti1Image(wrong, image.affine))
    segmenter(scans[0])  # and goes on


def test_metatensors_that_say_they_are_in_lps(segmenter: Segmenter, scans: list[Path]) -> None:
    """As MONAI's ITKReader hands them over with affine_lps_to_ras=False."""
    image = nib.load(scans[0])
    array = torch.from_numpy(np.asarray(image.dataobj).astype(np.float32))[None]
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    found = segmenter(MetaTensor(array, affine=lps, meta={"space": "LPS"}))
    expected = segmenter(MetaTensor(array, affine=image.affine))
    assert np.array_equal(found.labels, expected.labels) and found.labels.any()
    assert np.allclose(found.affine, image.affine)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="overlapp"):
        Segmenter(BUNDLE, settings={"overlapp": 0.1})
    for name in ("output_dir", "device", "dicom_seg", "overwrite", "load_pretrain", "isolate"):
        with pytest.raises(ConfigError, match=f"{name} is no setting of a segmenter"):
            Segmenter(BUNDLE, settings={name: "x"})
    with pytest.raises(ConfigError, match="no such bundle"):
        Segmenter("none")
    for name, value in (("overlap", 2), ("engine", "fast"), ("region", {1})):
        with pytest.raises(GridgateError, match=name):
            Segmenter(BUNDLE, settings={name: value})
    Segmenter(BUNDLE, settings={"overlap": np.float32(0.25)})
    with pytest.raises(GridgateError, match=r"box\.nii\.gz"):
        Segmenter(BUNDLE, settings={"region": tmp_path / "box.nii.gz"})(
            nib.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4))
        )
    with pytest.raises(CheckpointError):
        Segmenter("btcv_unetr")  # without weights
    with pytest.raises(CheckpointError):
        gridgate.segment("ct.nii.gz", BUNDLE, checkpoint=tmp_path / "none.pt")


def test_nothing_is_printed_written_or_kept(scans: list[Path], tmp_path: Path) -> None:
    code = (
        f"import gridgate; found = gridgate.segment({str(scans[0])!r}, {BUNDLE!r}, "
        f"settings={SETTINGS!r}); assert found.labels.any()"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "") and not list(tmp_path.iterdir())


def test_importing_gridgate_costs_nothing() -> None:
    code = "import sys, gridgate; assert 'torch' not in sys.modules; gridgate.segment"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing_here"):
        gridgate.nothing_here  # noqa: B018
