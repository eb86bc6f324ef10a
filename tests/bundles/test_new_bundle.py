"""A bundle for any network and any dataset."""

import json
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from gridgate.data.errors import ConfigError
from gridgate.networks import NETWORKS, build
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.plans.new_bundle import new_bundle
from gridgate.pipeline.plans.planning import DATASETS, dataset_names


def plan(folder: Path) -> dict:
    return json.loads((folder / "configs" / "metadata.json").read_text())["plan"]


def window(folder: Path) -> list[int]:
    found = json.loads((folder / "configs" / "metadata.json").read_text())
    return found["network_data_format"]["inputs"]["image"]["spatial_shape"]


def plan_labels(folder: Path) -> dict:
    found = json.loads((folder / "configs" / "metadata.json").read_text())
    return found["network_data_format"]["outputs"]["pred"]["channel_def"]


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_any_network_gets_a_bundle_whose_config_builds_it(network: str, tmp_path: Path) -> None:
    folder = new_bundle(network, "msd_hippocampus", tmp_path / "bundle")
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "train.yaml"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    with torch.device("meta"):
        built = parser.get_parsed_content("network_def")
    assert all(size % step == 0 for size, step in zip(window(folder), built.divisor, strict=True))
    assert plan(folder)["network"]["name"] == network
    # the loss knows the weights of as many outputs as the network gives in training
    weights = parser.get_parsed_content("train::loss::deep_supervision_weights")
    outputs = built.train()(torch.empty(2, 1, *window(folder), device="meta"))
    assert len(outputs) == len(weights) if isinstance(outputs, list) else weights is None


PAIRS = [
    # each network with one dataset after the other, and one network with all of them
    *zip(sorted(NETWORKS), cycle(dataset_names())),
    *(("attention_unet", dataset) for dataset in dataset_names()),
]


@pytest.mark.parametrize(("network", "dataset"), sorted(set(PAIRS)))
def test_each_pair_of_network_and_dataset(network: str, dataset: str, tmp_path: Path) -> None:
    # new_bundle runs the network on a window without memory; its plan is what the config gives
    folder = new_bundle(network, dataset, tmp_path / "bundle")
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    assert config["architecture"]["name"] == network
    assert config["labels"] == yaml.safe_load((DATASETS / f"{dataset}.yaml").read_text())["labels"]


@pytest.mark.parametrize("dataset", dataset_names())
def test_any_dataset(dataset: str, tmp_path: Path) -> None:
    folder = new_bundle("unet", dataset, tmp_path / "bundle", size="paper")
    facts = yaml.safe_load((DATASETS / f"{dataset}.yaml").read_text())
    assert plan(folder)["spacing"] == facts["spacing"] and window(folder) == facts["roi_size"]


def test_the_window_grows_to_what_the_network_takes_and_positions_follow(tmp_path: Path) -> None:
    # five poolings: 48 voxels are no multiple of 32
    folder = new_bundle("unet_plus_plus", "msd_hippocampus", tmp_path / "a", size="paper")
    assert window(folder) == [32, 64, 32]
    settings = {"roi_size": [64, 64, 32]}
    assert plan(new_bundle("uctransnet", "btcv", tmp_path / "b", settings=settings))["network"][
        "img_size"
    ] == [
        64,
        64,
        32,
    ]
    settings = {"network::img_size": [32, 32, 32]}
    assert plan(new_bundle("uctransnet", "btcv", tmp_path / "c", settings=settings))["network"][
        "img_size"
    ] == [
        32,
        32,
        32,
    ]


@pytest.mark.parametrize("network", ["unetr", "transunet", "transfuse", "uctransnet", "unet"])
def test_a_window_that_is_no_multiple_grows_for_networks_with_positions_too(
    network: str, tmp_path: Path
) -> None:
    facts = yaml.safe_load((DATASETS / "msd_hippocampus.yaml").read_text()) | {
        "roi_size": [40, 56, 40]
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    folder = new_bundle(network, str(tmp_path / "mine.yaml"), tmp_path / "bundle")
    assert window(folder) == [48, 64, 48]
    assert plan(folder)["network"].get("img_size", [48, 64, 48]) == [48, 64, 48]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonet", "btcv"], "unet_plus_plus"),
        (["UnetR", "btcv"], "Did you mean 'unetr'?"),
        (["unet", "btcv", "--training::epochs", "-1"], "--epochs -1: a whole number of 1 or more"),
        (["unet", "nowhere"], "msd_hippocampus"),
        (["unet", "nowhere.yaml"], "nowhere.yaml"),
        (["unet", "btcv", "--rio_size", "[64, 64, 64]"], "roi_size"),
        (["unet", "btcv", "--roi_size", "64"], "whole numbers"),
        (["unet", "btcv", "--roi_size", "[64, 64]"], "three"),
        (["unetr", "btcv", "--roi_size", "64"], "whole numbers"),
        (["unet", "btcv", "--roi_size_2d", "[128, 128, 8]"], "no such setting"),
        (["unet_plus", "btcv", "--network::name", "unet_plus_plus"], "first word"),
        (["unet", "btcv", "--network::spatial_dims", "2"], "--spatial-dims 2"),
        (["unet", "btcv", "--spatial-dims", "2", "--roi_size", "[64, 64]"], "three"),
        (["unet", "btcv", "--training::batch_size", "x"], "--batch_size x: a whole number of 1"),
        (["unet", "btcv", "--training::epoch", "3"], "epochs"),
        (["unet", "btcv", "--network::norn", "batch"], "norm"),
        (
            ["unet_plus_plus", "msd_hippocampus", "--size", "paper", "--roi_size", "[32, 48, 32]"],
            "[32, 64, 32]",
        ),
        # instance norm of one voxel
        (
            ["unet_plus_plus", "msd_hippocampus", "--size", "paper", "--roi_size", "[32, 32, 32]"],
            "too small",
        ),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_left(
    words: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-bundle", *words]) == 1
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_and_a_dataset_of_the_users_own(tmp_path: Path) -> None:
    facts = yaml.safe_load((DATASETS / "msd_spleen.yaml").read_text()) | {
        "title": "Mine",
        "labels": ["background", "tumour"],
        "expected": {"tumour": {"ml": [1, 100]}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    words = [
        sys.executable,
        "-m",
        "gridgate.pipeline.cli.main",
        "new-bundle",
        "unet",
        "mine.yaml",
        "--training::epochs",
        "7",
    ]
    told = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    folder = tmp_path / "mine_unet"
    assert told == "mine_unet\n"
    assert yaml.safe_load((folder / "configs" / "train.yaml").read_text())["epochs"] == 7
    page = (folder / "docs" / "README.md").read_text()
    assert "Mine, U-Net" in page and "tumour" in page
    facts["expected"] = {"liver": {"ml": [1, 2]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    with pytest.raises(ConfigError, match="expected speaks of liver"):
        new_bundle("unet", str(tmp_path / "mine.yaml"), tmp_path / "other")
    del facts["spacing"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    with pytest.raises(ConfigError, match="lacks spacing"):
        new_bundle("unet", str(tmp_path / "mine.yaml"), tmp_path / "other")


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        new_bundle("unet", "btcv", tmp_path / "bundle")
    assert list(tmp_path.rglob("*")) == [tmp_path / "bundle"]


# 2D


@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("size", ["small", "paper"])
def test_any_network_in_2d_slice_by_slice(network: str, size: str, tmp_path: Path) -> None:
    folder = new_bundle(network, "msd_hippocampus", tmp_path / "bundle", size=size, spatial_dims=2)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "train.yaml"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    with torch.device("meta"):
        built = parser.get_parsed_content("network_def")
    assert {parameter.dim() for parameter in built.parameters()} <= {
        1,
        2,
        3,
        4,
    }  # no 3D kernel among them
    assert len(window(folder)) == 3 and window(folder)[2] == 16
    outputs = built.train()(torch.empty(2, 1, *window(folder), device="meta"))
    main_head = outputs[0] if isinstance(outputs, list) else outputs
    assert main_head.shape == (2, 3, *window(folder))
    assert plan(folder)["overlap"] == [0.5, 0.5, 0.0]
    assert plan(folder)["network"].get("img_size", window(folder)[:2]) == window(folder)[:2]
    assert "slice by slice" in (folder / "docs" / "README.md").read_text()


def test_the_papers_2d_form_is_the_one_that_the_paper_counts(tmp_path: Path) -> None:
    folder = new_bundle(
        "unet_plus_plus", "msd_spleen", tmp_path / "bundle", size="paper", spatial_dims=2
    )
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.yaml"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    with torch.device("meta"):
        built = parser.get_parsed_content("network_def")
    # NETWORKS.md counts one class; here each of four heads has a second: 32 weights and a bias
    assert sum(parameter.numel() for parameter in built.parameters()) == 9_041_700 + 4 * 33


def test_a_2d_plan_keeps_a_datasets_overlap_an_axis_and_validates_without_repeating_slices(
    tmp_path: Path,
) -> None:
    facts = yaml.safe_load((DATASETS / "msd_spleen.yaml").read_text()) | {
        "overlap": [0.5, 0.125, 0.25]
    }
    del facts["roi_size_2d"]  # then the window is that of 3D
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    folder = new_bundle("unet", str(tmp_path / "mine.yaml"), tmp_path / "bundle", spatial_dims=2)
    assert plan(folder)["overlap"] == [0.5, 0.125, 0.0] and window(folder) == [96, 96, 96]
    training = yaml.safe_load((folder / "configs" / "train.yaml").read_text())
    assert training["validate"]["inferer"]["overlap"] == [0.25, 0.125, 0.0]
    with pytest.raises(ConfigError, match="2 or 3"):
        new_bundle("unet", "btcv", tmp_path / "other", spatial_dims=4)


@pytest.mark.parametrize(("spatial_dims", "loss"), [(3, "structure"), (2, "structure_2d")])
def test_transfuse_at_the_papers_size_has_the_papers_loss(
    spatial_dims: int, loss: str, tmp_path: Path
) -> None:
    folder = new_bundle(
        "transfuse", "btcv", tmp_path / "bundle", size="paper", spatial_dims=spatial_dims
    )
    assert (
        yaml.safe_load((folder / "configs" / "train.yaml").read_text())["train"]["loss"]["name"]
        == loss
    )
    small = new_bundle("transfuse", "btcv", tmp_path / "small", spatial_dims=spatial_dims)
    assert (
        yaml.safe_load((small / "configs" / "train.yaml").read_text())["train"]["loss"]["name"]
        == "dice_ce"
    )


def test_a_2d_bundle_trains_and_segments_a_folder(phantom_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    words = ["new-bundle", "unet_plus_plus", "phantom", "--to", str(folder), "--spatial-dims", "2"]
    assert main([*words, "--network::filters", "[4, 6, 8]", "--spacing", "[8, 8, 8]"]) == 0
    short = [
        "--epochs",
        "1",
        "--iterations_per_epoch",
        "3",
        "--batch_size",
        "1",
        "--val_interval",
        "1",
    ]
    short += ["--num_workers", "0", "--device", "cpu"]
    assert (
        main(["train", str(folder), str(phantom_dataset), str(tmp_path / "training"), *short]) == 0
    )
    checkpoint = tmp_path / "training" / "models" / "model.pt"
    # what is saved is the 2D network's own state dict
    options = {key: value for key, value in plan(folder)["network"].items() if key != "name"}
    own = build("unet_plus_plus", in_channels=1, out_channels=len(plan_labels(folder)), **options)
    own.load_state_dict(torch.load(checkpoint, weights_only=True))
    scans = tmp_path / "scans"  # two: they go to a worker process
    scans.mkdir()
    for name in ("phantom_000.nii.gz", "phantom_001.nii.gz"):
        shutil.copy(phantom_dataset / "imagesTr" / name, scans)
    words = [
        "infer",
        str(folder),
        str(scans),
        str(tmp_path / "masks"),
        "--checkpoint",
        str(checkpoint),
    ]
    assert main([*words, "--device", "cpu"]) == 0
    for scan in scans.iterdir():
        image, mask = nib.load(scan), nib.load(tmp_path / "masks" / scan.name)
        assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, image.affine)
    load = {"small.ts": torch.jit.load, "small.pt2": lambda path: torch.export.load(path).module()}
    some = torch.rand(1, 1, *window(folder))
    with torch.no_grad():
        wanted = torch.stack([own.eval().pruned(1)(plane) for plane in some.unbind(-1)], dim=-1)
        assert wanted.std() > 1e-3
        for name in load:
            assert (
                main(["export", str(folder), str(checkpoint), str(tmp_path / name), "--depth", "1"])
                == 0
            )
            torch.testing.assert_close(
                load[name](tmp_path / name)(some), wanted, rtol=1e-4, atol=1e-4
            )
