"""A bundle for any network and any dataset."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from gridgate.bundles.generate import DATASETS, NETWORK_FACTS, dataset_names
from gridgate.bundles.new_bundle import new_bundle
from gridgate.data.errors import ConfigError
from gridgate.networks import NETWORKS
from gridgate.pipeline.cli import main


def plan(folder: Path) -> dict:
    return json.loads((folder / "configs" / "metadata.json").read_text())["plan"]


def window(folder: Path) -> list[int]:
    found = json.loads((folder / "configs" / "metadata.json").read_text())
    return found["network_data_format"]["inputs"]["image"]["spatial_shape"]


def test_every_network_of_the_registry_is_described() -> None:
    assert yaml.safe_load(NETWORK_FACTS.read_text()).keys() == set(NETWORKS)


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
    assert plan(new_bundle("uctransnet", "btcv", tmp_path / "b", settings=settings))["network"]["img_size"] == [
        64,
        64,
        32,
    ]
    settings = {"network::img_size": [32, 32, 32]}
    assert plan(new_bundle("uctransnet", "btcv", tmp_path / "c", settings=settings))["network"]["img_size"] == [
        32,
        32,
        32,
    ]


@pytest.mark.parametrize("network", ["unetr", "transunet", "transfuse", "uctransnet", "unet"])
def test_a_window_that_is_no_multiple_grows_for_networks_with_positions_too(network: str, tmp_path: Path) -> None:
    facts = yaml.safe_load((DATASETS / "msd_hippocampus.yaml").read_text()) | {"roi_size": [40, 56, 40]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    folder = new_bundle(network, str(tmp_path / "mine.yaml"), tmp_path / "bundle")
    assert window(folder) == [48, 64, 48]
    assert plan(folder)["network"].get("img_size", [48, 64, 48]) == [48, 64, 48]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonet", "btcv"], "unet_plus_plus"),
        (["unet", "nowhere"], "msd_hippocampus"),
        (["unet", "nowhere.yaml"], "nowhere.yaml"),
        (["unet", "btcv", "--rio_size", "[64, 64, 64]"], "roi_size"),
        (["unet", "btcv", "--roi_size", "64"], "whole numbers"),
        (["unet", "btcv", "--roi_size", "[64, 64]"], "three"),
        (["unet_plus", "btcv", "--network::name", "unet_plus_plus"], "first word"),
        (["unet", "btcv", "--training::batch_size", "x"], "x at once"),
        (["unet", "btcv", "--training::epoch", "3"], "epochs"),
        (["unet", "btcv", "--network::norn", "batch"], "norm"),
        (["unet_plus_plus", "msd_hippocampus", "--size", "paper", "--roi_size", "[32, 48, 32]"], "[32, 64, 32]"),
        # instance norm of one voxel
        (["unet_plus_plus", "msd_hippocampus", "--size", "paper", "--roi_size", "[32, 32, 32]"], "too small"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_left(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-bundle", *words]) == 1
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_and_a_dataset_of_the_users_own(tmp_path: Path) -> None:
    facts = yaml.safe_load((DATASETS / "msd_spleen.yaml").read_text()) | {
        "title": "Mine",
        "labels": ["background", "tumour"],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    words = [
        sys.executable,
        "-m",
        "gridgate.pipeline.cli",
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
    del facts["spacing"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(facts))
    with pytest.raises(ConfigError, match="lacks spacing"):
        new_bundle("unet", str(tmp_path / "mine.yaml"), tmp_path / "other")


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        new_bundle("unet", "btcv", tmp_path / "bundle")
    assert list(tmp_path.rglob("*")) == [tmp_path / "bundle"]
