"""Bundles of the model zoo's form in the engine, against MONAI's own run of their configs."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks import nets
from scipy import ndimage

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.importing.zoo.folder import ZooBundle
from gridgate.pipeline.models.importing.zoo.model import import_zoo
from gridgate.pipeline.models.importing.zoo.network import network_of
from gridgate.pipeline.models.importing.zoo.values import ConfigValues

sys.path.insert(0, str(Path(__file__).parent))
from zoo_folders import SEGRESNET, UNET, WINDOW, made_network, scores_by_monai, write_zoo_bundle

NORMALISED = [
    {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
    {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0},
]
PERCENTILES = [
    {
        "_target_": "ScaleIntensityRangePercentilesd",
        "keys": "image",
        "lower": 1,
        "upper": 99,
        "b_min": -1,
        "b_max": 1,
        "clip": True,
    }
]
CROP = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}
ARGMAX_FIRST = [
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
]
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
ONE = {"1": "spleen"}
LARGEST = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
WORDS = ["--device", "cpu", "--amp", "False", "--engine", "torch"]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A CT stored as LPI, turned by some degrees."""
    rng = np.random.default_rng(0)
    array = ndimage.gaussian_filter(rng.normal(size=(52, 46, 30)), 3) * 4000
    angle = np.deg2rad(6)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([-1.6, -1.6, -2.4, 1])
    affine[:3, 3] = [40, 30, -12]
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(array.round().astype(np.int16), affine), path)
    return path


@pytest.mark.parametrize(
    ("config", "softmax"),
    [
        ({}, True),
        ({"inferer": {"mode": "gaussian", "overlap": 0.25}}, True),
        ({"network": SEGRESNET, "intensities": NORMALISED}, True),
        ({"intensities": PERCENTILES, "post": ARGMAX_FIRST}, False),
        ({"behind": [CROP]}, True),
        ({"inferer": {"roi_size": [48, 48, 48], "padding_mode": "replicate"}}, True),
        ({"inferer": {"roi_size": [48, 48, 48], "cval": 0.5}}, True),
    ],
    ids=["window", "gaussian", "normalised", "percentiles", "crop", "replicate", "cval"],
)
def test_masks_are_those_of_monais_own_run(
    config: dict[str, Any], softmax: bool, scan: Path, tmp_path: Path
) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo", **config)
    mask = tmp_path / "mask.nii.gz"
    assert main(["import-model", str(bundle), str(tmp_path / "ours")]) == 0
    assert main(["infer", str(tmp_path / "ours"), str(scan), str(mask), *WORDS]) == 0
    written = nib.load(mask)
    np.testing.assert_array_equal(written.affine, nib.load(scan).affine)
    found = np.asarray(written.dataobj)
    scores = scores_by_monai(bundle, scan, softmax=softmax)
    ordered = np.sort(scores, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-3 * np.ptp(ordered)
    expected = scores.argmax(0)
    assert np.bincount(expected.ravel(), minlength=3)[:3].min() > 50, "all labels are there"
    assert clear.mean() > 0.97
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_what_is_written_names_its_labels_and_is_not_trained(tmp_path: Path) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo")
    folder = import_zoo(bundle, tmp_path / "ours")
    facts = json.loads((folder / "configs" / "metadata.json").read_text())
    assert facts["plan"]["labels"] == ["background", "spleen", "liver"]
    assert facts["plan"]["modality"] == "CT"
    assert not (folder / "configs" / "train.yaml").exists()
    page = (folder / "docs" / "README.md").read_text()
    assert "Spleen of the zoo" in page and "version 0.4.2" in page and "model zoo" in page
    with pytest.raises(ConfigError, match="bundle of Gridgate already"):
        import_zoo(folder, tmp_path / "again")


def test_a_network_that_is_not_known_comes_by_its_torchscript(scan: Path, tmp_path: Path) -> None:
    named = import_zoo(write_zoo_bundle(tmp_path / "zoo"), tmp_path / "named")
    other = write_zoo_bundle(tmp_path / "other", network_def={**UNET, "_target_": "DiNTS"})
    with pytest.raises(ConfigError, match=r"network DiNTS is not one of .*UNet.*models/model\.ts"):
        import_zoo(other, tmp_path / "ours")
    torch.jit.script(made_network(UNET)).save(str(other / "models" / "model.ts"))
    ours = import_zoo(other, tmp_path / "ours")
    masks = []
    for folder in (named, ours):
        mask = tmp_path / f"{folder.name}.nii.gz"
        assert main(["infer", str(folder), str(scan), str(mask), *WORDS]) == 0
        masks.append(np.asarray(nib.load(mask).dataobj))
    assert (masks[0] != masks[1]).mean() < 1e-4 and masks[0].any()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"before": [WINDOW]}, "Spacingd is not run here .*intensities"),
        ({"behind": [{"_target_": "Resized", "keys": "image", "spatial_size": 9}]}, "Resized"),
        ({"behind": [CROP, WINDOW]}, "ScaleIntensityRanged is not run here .*after the crop"),
        ({"behind": [{**CROP, "select_fn": "$lambda x: x > 1"}]}, "CropForegroundd.*select_fn"),
        ({"behind": [{**CROP, "margin": 3}]}, "CropForegroundd"),
        ({"pixdim": "$__import__('os').getcwd()"}, "is code, which is not run"),
        ({"pixdim": "@nowhere"}, "@nowhere is not there"),
        ({"pixdim": "@pixdim"}, "in a circle"),
        ({"inferer": {"_target_": "SimpleInferer"}}, "SimpleInferer is no sliding window"),
        ({"inferer": {"roi_size": [96, 96, -1]}}, "roi_size"),
        ({"inferer": {"padding_mode": "reflect"}}, "reflect"),
        ({"post": [{"_target_": "FillHolesd", "keys": "pred"}]}, "FillHolesd behind"),
        (
            {"post": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]},
            "each of its 3 channels has a sigmoid",
        ),
        ({"post": [{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}]}, "threshold"),
        ({"post": [{**SOFTMAX, "other": "$lambda x: x"}]}, "Activationsd behind|is code"),
        ({"post": [{**LARGEST, "num_components": 2}]}, "num_components 2"),
        ({"post": [{**LARGEST, "independent": False}]}, "independent False"),
        ({"network_def": {**UNET, "out_channels": 1}, "post": [], "labels": ONE}, "one channel"),
        ({"spacing": {"scale_extent": True}}, "Spacingd is not run here .*scale_extent True"),
        ({"spacing": {"padding_mode": "zeros"}}, "padding_mode 'zeros'"),
        ({"orientation": {"labels": [["R", "L"], ["A", "P"], ["I", "S"]]}}, "Orientationd"),
        ({"behind": [{**CROP, "source_key": "label"}]}, "source_key"),
        ({"first": [{**WINDOW, "keys": "t1"}]}, "may be made of what it changes"),
        ({"behind": [{"_target_": "CopyItemsd", "keys": "raw", "names": "image"}]}, "may be made"),
        ({"labels": {"0": "background", "1": "$print(1)", "2": "b"}}, "taken for code"),
        ({"labels": {"0": "background", "1": "$'$' + 'x'", "2": "b"}}, "taken for code"),
        ({"network_def": {**UNET, "bias": {"_target_": "os.abort"}}}, "would make an object"),
        ({"modelname": "../other/model.pt"}, "are not in the bundle's models/"),
        ({"labels": {"0": "background", "1": "spleen"}}, "3 labels.*names 2"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "names a twice"),
        ({"network_def": {**UNET, "strange": 1}}, "strange"),
        ({"network_def": {**UNET, "_target_": "scripts.nets.UNet"}}, "network scripts.nets.UNet"),
        ({"behind": [{"_target_": "scripts.own.Merge", "to": "image"}]}, "scripts.own.Merged is"),
        ({"intensities": [{**WINDOW, "_target_": "own.ScaleIntensityRanged"}]}, "own.ScaleInt"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo", **config)
    with pytest.raises(ConfigError, match=said):
        import_zoo(bundle, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_is_left_out_has_monais_defaults(tmp_path: Path) -> None:
    """Of UNet num_res_units is 0 there, and 2 in Gridgate's."""
    network = {key: value for key, value in UNET.items() if key != "num_res_units"}
    folder = import_zoo(write_zoo_bundle(tmp_path / "zoo", network=network), tmp_path / "ours")
    facts = json.loads((folder / "configs" / "metadata.json").read_text())
    assert facts["plan"]["network"]["num_res_units"] == 0


def test_the_weights_are_those_that_the_config_loads(tmp_path: Path) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo", modelname="fold_1/model.pt")
    (bundle / "models" / "fold_1").mkdir()
    torch.manual_seed(5)
    wanted = {key: one + 1 for key, one in made_network(UNET).state_dict().items()}
    torch.save(wanted, bundle / "models" / "fold_1" / "model.pt")
    folder = import_zoo(bundle, tmp_path / "ours")
    found = torch.load(folder / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_one_channel_has_its_threshold(tmp_path: Path) -> None:
    post = [
        {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.3},
        LARGEST,
    ]
    network = {**UNET, "out_channels": 1}
    folder = import_zoo(
        write_zoo_bundle(tmp_path / "zoo", network=network, post=post, labels=ONE),
        tmp_path / "ours",
    )
    plan = json.loads((folder / "configs" / "metadata.json").read_text())["plan"]
    assert (plan["output_channels"], plan["thresholds"]) == (1, [0.3])
    assert plan["labels"] == ["background", "spleen"] and plan["keep_largest"] == [1]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo", network_def={**UNET, "channels": [4, 8, 12]})
    with pytest.raises(CheckpointError, match="not of the network that is described"):
        import_zoo(bundle, tmp_path / "ours")
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        import_zoo(bundle, tmp_path / "ours")


def test_options_of_nnunet_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_zoo_bundle(tmp_path / "zoo")
    words = ["import-model", str(bundle), str(tmp_path / "ours")]
    assert main([*words, "--folds", "0", "--no-mirroring"]) == 1
    assert "--folds, --no-mirroring: only models of nnU-Net" in capsys.readouterr().err
    assert main([*words, "--plan", str(bundle)]) == 1
    assert "--plan: is for a network's file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1 + 2 * 3", 7),
        ("$[1, -2.5]", [1, -2.5]),
        ("$(1, 2)", [1, 2]),
        ("$'a' + '/' + @name", "a/b"),
        ("$@deep#one if not @yes else @deep::two#1", 4),
        ("plain", "plain"),
    ],
)
def test_values_without_running_code(text: str, value: Any) -> None:
    config = {"name": "b", "yes": True, "deep": {"one": 1, "two": [3, 4]}}
    assert ConfigValues(config, of="x").value(text) == value


@pytest.mark.parametrize(
    "text",
    ["$open('x')", "$[].append(1)", "$(lambda: 1)()", "$1 / 0", "$x", "%a.json#b", "$2 **"],
)
def test_code_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is code, which is not run"):
        ConfigValues({}, of="x").value(text)


NEEDED: dict[str, dict[str, Any]] = {
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
    },
    "UNet": {"channels": [4, 8, 16], "strides": [2, 2]},
    "UNETR": {"img_size": [32, 32, 32]},
}


@pytest.mark.parametrize("given", [{"spatial_dims": 3}, {}])
@pytest.mark.parametrize("name", [*NEEDED, "MedNeXt", "SegResNet", "SwinUNETR", "VNet"])
def test_each_network_that_is_listed_is_monais_of_that_config(
    name: str, given: dict[str, Any]
) -> None:
    """With no more said than it must be: the rest has MONAI's defaults. No weights are made."""
    said = {"in_channels": 1, "out_channels": 3, **NEEDED.get(name, {}), **given}
    if "spatial_dims" in inspect.signature(getattr(nets, name)).parameters:
        said.setdefault("spatial_dims", 3)
    values = ConfigValues({"network_def": {"_target_": name, **said}}, of="config")
    architecture, channels, outputs = network_of(ZooBundle(Path(), Path(), values, {}))
    device = "cpu" if name == "SwinUNETR" else "meta"  # it reads numbers while it is made
    with torch.device(device):
        ours = build_network(architecture, in_channels=channels, out_channels=outputs)
        theirs = getattr(nets, name)(**said)
    wanted = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == wanted
    with pytest.raises(ConfigError, match=r"not one of DynUNet, MedNeXt, .*, UNet, VNet;"):
        values = ConfigValues({"network_def": {"_target_": "unet"}}, of="config")
        network_of(ZooBundle(Path(), Path(), values, {}))
