"""Imported models in the engine, against a second writing of nnU-Net's chain."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

import gridgate
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.cli.settings import settings_of

from .conftest import MakeModel, PlainConvUNet

sys.path.insert(0, str(Path(__file__).parent))
from second_writing import labels_of, logits_of, regions_of

pytestmark = pytest.mark.usefixtures("stand_in")
GRID: dict[str, Any] = {"spacing": [2.0, 1.5, 1.5], "patch": [10, 12, 14]}


@pytest.fixture
def scan(tmp_path: Path) -> str:
    """A CT with a border of zeros, stored as LPS."""
    rng = np.random.default_rng(0)
    array = ndimage.gaussian_filter(rng.normal(size=(26, 24, 18)), 1.5) * 1200
    array[:, :3] = 0
    array[-2:] = 0
    affine = np.diag([-1.2, -1.2, 1.7, 1])
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(array.round().astype(np.int16), affine), path)
    return str(path)


def networks(model: Path, heads: int) -> list[nn.Module]:
    made: list[nn.Module] = []
    for file in sorted(model.glob("fold_*/checkpoint_final.pth")):
        weights = torch.load(file, weights_only=False)["network_weights"]
        options = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d}
        network = PlainConvUNet(1, heads, features_per_stage=[3], deep_supervision=False, **options)
        network.load_state_dict(weights)
        made.append(network.eval())
    return made


def mask_of(model: Path, scan: str, tmp_path: Path, *options: str) -> np.ndarray:
    assert main(["import-model", str(model), str(tmp_path / "bundle"), *options]) == 0
    mask = str(tmp_path / "mask.nii.gz")
    assert main(["infer", str(tmp_path / "bundle"), scan, mask, "--device", "cpu"]) == 0
    written, original = nib.load(mask), nib.load(scan)
    np.testing.assert_array_equal(written.affine, original.affine)
    return np.asarray(written.dataobj)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert len(np.unique(wanted)) > 2
    assert (found != wanted).mean() < 1e-4  # scores that tie within rounding


@pytest.mark.parametrize("mirror", [None, (0, 2)])
@pytest.mark.parametrize("folds", [1, 2])
def test_masks_are_those_of_the_second_writing(
    make_model: MakeModel, scan: str, tmp_path: Path, mirror: Any, folds: int
) -> None:
    model = make_model(mirror=mirror, folds=folds)
    wanted = labels_of(*logits_of(scan, networks(model, 3), mirror=mirror or (), **GRID))
    assert_same(mask_of(model, scan, tmp_path), wanted)


def test_without_mirroring_and_of_one_fold(
    make_model: MakeModel, scan: str, tmp_path: Path
) -> None:
    model = make_model(mirror=(0, 1, 2), folds=2)
    wanted = labels_of(*logits_of(scan, networks(model, 3)[1:], **GRID))
    assert_same(mask_of(model, scan, tmp_path, "--no-mirroring", "--folds", "1"), wanted)


@pytest.mark.parametrize("folds", [1, 2])
def test_regions(make_model: MakeModel, scan: str, tmp_path: Path, folds: int) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    model = make_model(labels=labels, order=[2, 1], folds=folds)
    wanted = regions_of(*logits_of(scan, networks(model, 2), **GRID), [2, 1])
    assert_same(mask_of(model, scan, tmp_path), wanted)


def test_a_scan_smaller_than_a_window(make_model: MakeModel, scan: str, tmp_path: Path) -> None:
    model = make_model(patch_size=[40, 12, 14])
    wanted = labels_of(
        *logits_of(scan, networks(model, 3), spacing=GRID["spacing"], patch=[40, 12, 14])
    )
    assert_same(mask_of(model, scan, tmp_path), wanted)


def test_fast_resampling_is_near_and_can_be_chosen_when_it_is_run(
    make_model: MakeModel, scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = mask_of(make_model(), scan, tmp_path)
    fast = str(tmp_path / "fast.nii.gz")
    run = ["infer", str(tmp_path / "bundle"), scan, fast, "--fast_resampling", "true"]
    assert main(run) == 0
    assert "trilinear" in capsys.readouterr().err
    differ = (np.asarray(nib.load(fast).dataobj) != exact).mean()
    assert 0 < differ < 0.5


def test_parts_run_one_after_another_and_later_ones_stay(
    make_model: MakeModel, scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_model("a", labels={"background": 0, "liver": 1, "spleen": 2})
    second = make_model(
        "b", labels={"background": 0, "kidney": 1, "colon": 2}, seed=7, patch_size=[12, 10, 10]
    )
    names = {"1": "colon", "2": "kidney", "3": "spleen", "4": "liver", "5": "heart"}
    (tmp_path / "names.json").write_text(json.dumps(names))
    one = labels_of(*logits_of(scan, networks(first, 3), **GRID))
    grid = {**GRID, "patch": [12, 10, 10]}
    other = labels_of(*logits_of(scan, networks(second, 3), **grid))
    wanted = np.array([0, 4, 3])[one]
    wanted[other > 0] = np.array([0, 2, 1])[other][other > 0]
    bundle = str(tmp_path / "whole")
    labels = ["--labels", str(tmp_path / "names.json")]
    assert main(["import-model", str(first), str(second), bundle, *labels]) == 0
    found = gridgate.segment(scan, bundle, device="cpu")
    assert_same(found.labels, wanted)
    assert found.names == {1: "colon", 2: "kidney", 3: "spleen", 4: "liver", 5: "heart"}
    run = ["infer", bundle, scan, str(tmp_path / "M"), "--probabilities", "[liver]"]
    assert main(run) == 1
    assert "this bundle is several networks" in capsys.readouterr().err


@pytest.mark.parametrize("config", ["inference.yaml", "evaluate.yaml"])
def test_help_tells_the_settings_of_imported_bundles(
    make_model: MakeModel, tmp_path: Path, config: str
) -> None:
    assert main(["import-model", str(make_model()), str(tmp_path / "bundle")]) == 0
    told = {one.name: one.default for one in settings_of(config, tmp_path / "bundle")}
    assert told["fast_resampling"] == "false" and told["amp"] == "gpu"
    assert "nnunet" in told and "parts" not in told
    assert "fast_resampling" not in {one.name for one in settings_of(config)}


def test_it_is_evaluated(make_model: MakeModel, scan: str, tmp_path: Path) -> None:
    mask = mask_of(make_model(), scan, tmp_path)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "D" / folder).mkdir(parents=True)
    image = nib.load(scan)
    nib.save(image, tmp_path / "D/imagesTr/a.nii.gz")
    nib.save(nib.Nifti1Image(mask, image.affine), tmp_path / "D/labelsTr/a.nii.gz")
    told = {"name": "D", "labels": {"0": "background", "1": "liver", "2": "spleen"}}
    told |= {"modality": {"0": "CT"}, "test": []}
    told["training"] = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    (tmp_path / "D/dataset.json").write_text(json.dumps(told))
    run = ["evaluate", str(tmp_path / "bundle"), str(tmp_path / "D"), str(tmp_path / "E")]
    assert main([*run, "--part", "all", "--device", "cpu"]) == 0
    summary = json.loads((tmp_path / "E/summary.json").read_text())
    assert summary["mean"]["dice"] == 1


def test_it_is_exported(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model(folds=2)
    assert main(["import-model", str(model), str(tmp_path / "bundle")]) == 0
    program = tmp_path / "model.pt2"
    assert main(["export", str(tmp_path / "bundle"), str(program)]) == 0
    window = torch.rand(1, 1, 10, 12, 14)
    with torch.no_grad():
        found = torch.export.load(program).module()(window)
        wanted = sum(network(window) for network in networks(model, 3)) / 2
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
