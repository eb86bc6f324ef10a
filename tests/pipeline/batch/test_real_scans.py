"""Real CTs of many kinds: each mask lies in its scan's own grid, for nibabel and for SimpleITK."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import user_error

from ..small_bundle import infer

SCANS = {
    "ircad": "ct/ircad01/ct.nii.gz",  # 512 x 512 x 129, LPS
    "totalsegmentator": "ct/totalsegmentator_3mm/ct.nii.gz",  # int32 on disk, RAS
    "chest": "ct/chest_10mm_nrrd/CTChest4.nrrd",
    "sarcoma_002": "ct/sarcoma_002/CT_image.nii.gz",  # qform only
    "sarcoma_008": "ct/sarcoma_008/CT_image.nii.gz",
    "sarcoma_019": "ct/sarcoma_019/CT_image.nii.gz",
    "oblique": "odd/CT_pitch_oblique.nii.gz",
    "head_neck": "openkbp_head_neck/imagesTr/okbp_002.nii.gz",  # LPI
}
UNUSABLE = {"rgb": "odd/spine_report_RGB.nii.gz", "truncated": "odd/truncated_example_ct.nii.gz"}


@pytest.fixture(scope="module")
def masks(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run over all of them, the unusable ones among them; scans and masks side by side."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "scans").mkdir()
    for name, path in (SCANS | UNUSABLE).items():
        suffix = "".join(Path(path).suffixes[-2:]) if path.endswith(".gz") else Path(path).suffix
        (folder / "scans" / f"{name}{suffix}").symlink_to(shared_data / path)
    with pytest.raises(Exception, match=r".") as caught:
        infer(
            folder / "scans",
            folder / "masks",
            load_pretrain=False,
            spacing=[12.0, 12.0, 12.0],
            overlap=0,
        )
    assert "2 of 10 cases failed" in str(user_error(caught.value))
    return folder


def test_the_unusable_files_are_named_with_their_reason(masks: Path) -> None:
    with open(masks / "masks" / "cases.csv", newline="") as file:
        failed = {
            row["case"]: row["reason"] for row in csv.DictReader(file) if row["status"] != "ok"
        }
    assert set(failed) == set(UNUSABLE)
    assert "RGB" in failed["rgb"] and "cut off" in failed["truncated"]


@pytest.mark.parametrize("name", SCANS)
def test_mask_in_the_scans_own_grid(masks: Path, shared_data: Path, name: str) -> None:
    original, written = shared_data / SCANS[name], masks / "masks" / f"{name}.nii.gz"
    mask = nib.load(written)
    assert np.issubdtype(mask.get_data_dtype(), np.unsignedinteger)
    scan, opened = sitk.ReadImage(str(original)), sitk.ReadImage(str(written))
    assert opened.GetSize() == scan.GetSize()
    for part in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(
            getattr(opened, part)(), getattr(scan, part)(), rtol=1e-5, atol=1e-4
        )
    if original.suffix == ".nrrd":
        return
    header = nib.load(original).header
    np.testing.assert_array_equal(mask.header.get_best_affine(), header.get_best_affine())
    for code in ("sform_code", "qform_code"):
        assert mask.header[code] == header[code]


def test_a_body_part_ends_up_where_it_is_in_the_scan(masks: Path, shared_data: Path) -> None:
    """Labels that follow the HU alone: flipped or shifted, they would not fit the scan."""
    import torch
    from monai.data import MetaTensor

    from gridgate.transforms import RestoreLabelsd, preprocessing

    for name in ("sarcoma_008", "totalsegmentator", "head_neck", "oblique"):
        path = shared_data / SCANS[name]
        window = {"mode": "window", "low": -1000, "high": 1000}
        case = preprocessing(spacing=(3, 3, 3), intensity=window)({"image": str(path)})
        image: MetaTensor = case["image"]
        threshold = float(
            torch.quantile(image.as_tensor().flatten()[:: max(1, image.numel() // 100_000)], 0.6)
        )
        logits = torch.cat([threshold - image.as_tensor(), image.as_tensor() - threshold])
        restored = np.asarray(RestoreLabelsd("pred")({**case, "pred": logits})["pred"])[0]
        scan = np.clip((np.asarray(nib.load(path).dataobj, dtype=np.float32) + 1000) / 2000, 0, 1)
        while scan.ndim > 3:
            scan = scan[..., 0]
        truth = scan > threshold
        dice = (
            2 * (restored.astype(bool) & truth).sum() / (restored.astype(bool).sum() + truth.sum())
        )
        mirrored = restored.astype(bool)[::-1]
        assert dice > 0.8, (name, dice)
        assert dice > 2 * (mirrored & truth).sum() / (mirrored.sum() + truth.sum())
