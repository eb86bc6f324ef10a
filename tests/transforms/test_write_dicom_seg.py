"""A DICOM SEG that cannot be made leaves its reason, and the mask is written all the same."""

import errno
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from gridgate.data.dicom.series import find_series
from gridgate.data.errors import ImageError, OutputError
from gridgate.transforms import LoadCased, WriteLabelsd
from gridgate.transforms.write import dicom_seg as module
from gridgate.transforms.write.dicom_seg import WriteDicomSegd

REPORTS = "reports/files/korean_multi"


@pytest.fixture
def item(shared_data: Path) -> dict[str, object]:
    """A read series with a mask of bone, as the writers get it."""
    series = find_series(shared_data / REPORTS)[0][0]
    image = LoadCased("image")({"image": series})["image"]
    pred = MetaTensor((image > 100).to(torch.uint8), meta=image.meta)
    return {"id": "patient/ct", "pred": pred, "image": image, "files": {"image": series}}


def writers(folder: Path) -> Compose:
    return Compose(
        [
            WriteDicomSegd("pred", output_dir=folder, labels=["background", "bone"]),
            WriteLabelsd("pred", output_dir=folder),
        ]
    )


def check_mask(folder: Path, item: dict[str, object]) -> None:
    mask = nib.load(folder / "patient" / "ct.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), np.asarray(item["pred"])[0])


def test_both_are_written(tmp_path: Path, item: dict[str, object]) -> None:
    result = writers(tmp_path)(item)
    assert (tmp_path / "patient" / "ct.seg.dcm").is_file() and "dicom_seg_reason" not in result
    check_mask(tmp_path, item)


@pytest.mark.parametrize(
    "error",
    [
        ImageError("a slice is gone"),
        OutputError("no DICOM SEG can be made"),
        ValueError("what highdicom says"),
        MemoryError(),
        AssertionError(),
    ],
)
def test_the_mask_is_written_whatever_is_wrong_with_the_segmentation(
    error: Exception,
    tmp_path: Path,
    item: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writers(tmp_path)(item)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "write_dicom_seg", fail)
    (tmp_path / "patient" / "ct.nii.gz").unlink()
    result = writers(tmp_path)(item)
    assert result["dicom_seg_reason"] == (str(error) or type(error).__name__)
    check_mask(tmp_path, item)
    # that of the earlier run was another mask's
    assert not (tmp_path / "patient" / "ct.seg.dcm").exists()


def test_a_full_disk_is_raised(
    tmp_path: Path, item: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutputError("no space left") from OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(module, "write_dicom_seg", fail)
    with pytest.raises(OutputError, match="no space left"):
        WriteDicomSegd("pred", output_dir=tmp_path, labels=["background", "bone"])(item)


def test_the_file_of_another_author_stays(tmp_path: Path, item: dict[str, object]) -> None:
    foreign = tmp_path / "patient" / "ct.seg.dcm"
    foreign.parent.mkdir()
    foreign.write_bytes(b"a radiologist's")
    result = writers(tmp_path)(item)
    assert "not written by Gridgate" in str(result["dicom_seg_reason"])
    assert foreign.read_bytes() == b"a radiologist's"
    check_mask(tmp_path, item)


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_an_id_never_leads_out_of_the_folder(
    name: str, tmp_path: Path, item: dict[str, object]
) -> None:
    folder = tmp_path / "out"
    transform = WriteDicomSegd("pred", output_dir=folder, labels=["background", "bone"])
    result = transform({**item, "id": name})
    assert "leads out of the folder" in result["dicom_seg_reason"]
    assert not list(tmp_path.glob("outside*"))
