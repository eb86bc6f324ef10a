"""Models of several networks: each sees the scan, and the region, on a grid of its own."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.parts import PartsWindow
from gridgate.pipeline.models.parts import PartsNetwork
from gridgate.transforms.nnunet.parts import IMAGES
from gridgate.transforms.nnunet.preprocess import nnunet_preprocessing

BOX = ((-10.0, -8.0, -6.0), (4.0, 6.0, 10.0))
PARTS = [{"values": [0, 1]}, {"values": [0, 2], "spacing": [3.0, 2.0, 2.0], "mirror_axes": [0, 1]}]


@pytest.mark.parametrize("by", ["box", "mask"])
def test_the_region_is_laid_on_each_parts_grid(tmp_path: Path, by: str) -> None:
    affine = np.diag([-1.0, -1.0, 1.5, 1.0])
    affine[:3, 3] = 20, 18, -20
    array = np.random.default_rng(0).normal(100, 30, (40, 36, 28)).astype(np.float32)
    scan = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), scan)
    region: object = BOX
    if by == "mask":
        at = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), -1)
        mm = at @ affine[:3, :3].T + affine[:3, 3]
        inside = ((mm >= BOX[0]) & (mm <= BOX[1])).all(-1)
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), tmp_path / "ct_region.nii.gz")
        region = tmp_path / "ct_region.nii.gz"
    prepare = nnunet_preprocessing(
        nnunet={"transpose": [0, 1, 2]},
        intensity={"mode": "zscore"},
        spacing=(1.5, 1.0, 1.0),
        parts=PARTS,
        region=region,  # type: ignore[arg-type]
    )
    data = prepare({"image": str(scan), "id": "ct"})
    wanted = np.prod(np.subtract(BOX[1], BOX[0]))
    for item in (data, data[IMAGES][0], data[IMAGES][1]):
        voxels = torch.nonzero(item["region"][0]).numpy()
        own = np.asarray(item["image"].affine)
        mm = voxels @ own[:3, :3].T + own[:3, 3]
        spacing = np.linalg.norm(own[:3, :3], axis=0)
        assert item["region"].shape[1:] == item["image"].shape[1:]
        assert (mm >= np.array(BOX[0]) - 3).all() and (mm <= np.array(BOX[1]) + 3).all()
        assert len(voxels) * np.prod(spacing) == pytest.approx(wanted, rel=0.35)
    assert data[IMAGES][1]["image"].shape != data["image"].shape


def test_mirroring_that_is_asked_for_is_that_of_all_parts() -> None:
    def axes(**given: object) -> list[tuple[int, ...]]:
        window = PartsWindow(PARTS, roi_size=[8, 8, 8], **given)  # type: ignore[arg-type]
        return [part.mirror_axes for part in window.parts]

    assert axes(mirror_axes=[2], planned_mirror_axes=[2]) == [(2,), (0, 1)]
    assert axes(mirror_axes=[], planned_mirror_axes=[2]) == [(), ()]
    assert axes(mirror_axes=[0], planned_mirror_axes=[]) == [(0,), (0,)]
    assert axes(mirror_axes=[2]) == [(2,), (0, 1)]  # a bundle of before


def test_engines_are_checked_before_the_first_case() -> None:
    networks = PartsNetwork(torch.nn.Conv3d(1, 2, 1) for _ in PARTS)
    window = PartsWindow(PARTS, roi_size=[8, 8, 8], engine="openvino")
    with pytest.raises(ConfigError, match="--engine openvino: it computes on CPUs"):
        window.check_engine(networks, torch.device("cuda"))
    plain = PartsWindow(PARTS, roi_size=[8, 8, 8], engine="torch")
    assert plain.check_engine(networks, torch.device("cpu")) == ""
    with pytest.raises(ConfigError, match="run with its own weights alone"):
        plain.check_engine(torch.nn.Conv3d(1, 2, 1), torch.device("cpu"))
