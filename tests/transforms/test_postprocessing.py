from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from gridgate.data.errors import OutputError
from gridgate.transforms import FillHolesd, LargestComponentd, WriteLabelsd, postprocessing, preprocessing


def test_largest_component_of_each_label_as_simpleitk_finds_it() -> None:
    labels = (np.random.default_rng(0).random((20, 22, 18)) > 0.8).astype(np.uint8)
    labels[10:] *= 2
    found = LargestComponentd("pred")({"pred": torch.from_numpy(labels)[None]})["pred"].numpy()[0]
    for label in (1, 2):
        mask = sitk.GetImageFromArray((labels == label).astype(np.uint8))
        parts = sitk.RelabelComponent(sitk.ConnectedComponent(mask, True))
        counts = np.bincount(sitk.GetArrayFromImage(parts).ravel())[1:]
        expected = sitk.GetArrayFromImage(parts) == 1
        assert counts[0] > counts[1]
        np.testing.assert_array_equal(found == label, expected)


def test_only_the_asked_labels_are_touched() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    labels[0, 0, 0, :3], labels[0, 4, 4, 4] = 1, 1
    labels[0, 8, 8, :3], labels[0, 6, 6, 6] = 2, 2
    found = LargestComponentd("pred", labels=[2])({"pred": labels})["pred"]
    assert found[0, 4, 4, 4] == 1 and found[0, 6, 6, 6] == 0 and labels[0, 6, 6, 6] == 2


def test_holes_are_filled_but_other_labels_inside_stay() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    labels[0, 1:8, 1:8, 1:8] = 3
    labels[0, 3:6, 3:6, 3:6] = 0
    labels[0, 4, 4, 4] = 1
    expected = labels.clone()
    expected[0, 3:6, 3:6, 3:6] = 3
    expected[0, 4, 4, 4] = 1
    assert torch.equal(FillHolesd("pred")({"pred": labels})["pred"], expected)
    labels[0, 4, 4, :4] = 0  # a tunnel to the outside: no hole any more
    assert torch.equal(FillHolesd("pred")({"pred": labels})["pred"], labels)


@pytest.mark.parametrize("name", ["ct/sarcoma_002/CT_image.nii.gz", "ct/chest_10mm_nrrd/CTChest4.nrrd"])
def test_a_real_scan_there_and_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / name
    transform = preprocessing(
        orientation="RAS", spacing=(3, 3, 5), intensity={"mode": "window", "low": -1000, "high": 1000}
    )
    item = {**transform({"image": path}), "timings": {}}
    body = item["image"] > 0.4
    item["pred"] = torch.cat([torch.zeros_like(body), body, torch.zeros_like(body)]).float() - 0.5
    after = postprocessing(output_dir=tmp_path, keep_largest=True, fill_holes=[9], label_values=(0, 9, 4))
    result = after(item)
    written = Path(result["pred_path"])
    assert written.parent == tmp_path and written.name == path.name.split(".")[0] + ".nii.gz"
    image = nib.load(written)
    assert image.get_data_dtype() == np.uint8 and set(np.unique(image.dataobj)) == {0, 9}
    assert {"restore", "write"} <= set(result["timings"])
    if path.suffix == ".gz":
        scan = nib.load(path)
        assert image.shape == scan.shape and image.header["sform_code"] == scan.header["sform_code"]
        assert image.header["qform_code"] == scan.header["qform_code"]
        np.testing.assert_array_equal(image.affine, scan.affine)
        intensities = scan.get_fdata()
    else:
        scan = sitk.ReadImage(str(path))
        np.testing.assert_allclose(image.affine[:3, 3], np.array(scan.GetOrigin()) * (-1, -1, 1), atol=1e-3)
        intensities = sitk.GetArrayFromImage(scan).T
    inside = np.asarray(image.dataobj) == 9
    assert np.median(intensities[inside]) > -200 > np.median(intensities[~inside])


def test_the_item_id_names_the_file(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), scan)
    meta = {"filename_or_obj": str(scan), "original_affine": np.eye(4), "spatial_shape": (4, 5, 6)}
    pred = MetaTensor(torch.ones(1, 4, 5, 6, dtype=torch.uint8), meta=meta)
    result = WriteLabelsd(output_dir=tmp_path / "out", postfix="_seg")({"pred": pred, "id": "case7"})
    assert result["pred_path"] == str(tmp_path / "out" / "case7_seg.nii.gz")
    with pytest.raises(OutputError, match="shape"):
        WriteLabelsd(output_dir=tmp_path / "out")({"pred": pred[:, 1:]})
