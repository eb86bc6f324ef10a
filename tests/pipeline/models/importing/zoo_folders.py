"""Bundles as MONAI's model zoo has them, with random weights, and MONAI's own run of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.networks import nets
from monai.transforms import Invertd
from torch.nn import functional

UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8, 16],
    "strides": [2, 2],
    "num_res_units": 1,
    "norm": "batch",
}
SEGRESNET = {
    "_target_": "monai.networks.nets.SegResNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "init_filters": 8,
    "blocks_down": [1, 1],
    "blocks_up": [1],
}
WINDOW = {
    "_target_": "ScaleIntensityRanged",
    "keys": "image",
    "a_min": -57,
    "a_max": 164,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}
LABELS = {"0": "background", "1": "spleen", "2": "liver"}


def write_zoo_bundle(
    folder: Path,
    *,
    network: dict[str, Any] | None = None,
    intensities: list[dict[str, Any]] | None = None,
    first: list[dict[str, Any]] | None = None,
    before: list[dict[str, Any]] | None = None,
    behind: list[dict[str, Any]] | None = None,
    inferer: dict[str, Any] | None = None,
    post: list[dict[str, Any]] | None = None,
    labels: dict[str, str] | None = None,
    spacing: dict[str, Any] | None = None,
    orientation: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Configs in the zoo's form and random weights; more: ids."""
    network = network or UNET
    config = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "fine": True,
        "pixdim": "$[2.5, 2.5, 3.0] if @fine else [6.0] * 3",
        "modelname": "model.pt",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                *(first or []),
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {
                    "_target_": "Orientationd",
                    "keys": "image",
                    "axcodes": "RAS",
                    **(orientation or {}),
                },
                *(before or []),
                {
                    "_target_": "Spacingd",
                    "keys": "image",
                    "pixdim": "@pixdim",
                    "mode": "bilinear",
                    **(spacing or {}),
                },
                *([WINDOW] if intensities is None else intensities),
                *(behind or []),
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [16, 16, 16],
            "sw_batch_size": 4,
            "overlap": 0.5,
            **(inferer or {}),
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ]
            if post is None
            else post,
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/' + @modelname",
            "load_dict": {"model": "@network"},
        },
        **more,
    }
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    data = {
        "inputs": {"image": {"modality": "CT", "num_channels": 1}},
        "outputs": {"pred": {"channel_def": LABELS if labels is None else labels}},
    }
    metadata = {"version": "0.4.2", "name": "Spleen of the zoo", "network_data_format": data}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    made = made_network(network)
    torch.save(made.state_dict(), folder / "models" / "model.pt")
    return folder


def made_network(described: dict[str, Any]) -> torch.nn.Module:
    """MONAI's network with random weights, by which each label is found somewhere."""
    torch.manual_seed(0)
    options = {key: value for key, value in described.items() if key != "_target_"}
    made = getattr(nets, described["_target_"].rpartition(".")[2])(**options)
    made.eval()
    noise = functional.avg_pool3d(torch.randn(1, 1, 20, 20, 20) * 3, 5, stride=1) + 0.5
    with torch.no_grad():
        bias = [one for one in made.parameters() if one.shape == (options["out_channels"],)][-1]
        bias -= made(noise).mean((0, 2, 3, 4))  # each label somewhere
    return made


def scores_by_monai(bundle: Path, scan: Path, *, softmax: bool = True) -> np.ndarray:
    """Probabilities (or logits) on the scan's grid, by the bundle's own config and MONAI."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    chain = parser.get_parsed_content("preprocessing")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    case = chain({"image": str(scan)})
    with torch.no_grad():
        scores = parser.get_parsed_content("inferer")(case["image"][None], network)[0]
    case["pred"] = scores.softmax(0) if softmax else scores
    back = Invertd("pred", transform=chain, orig_keys="image", nearest_interp=False)
    return np.asarray(back(case)["pred"])
