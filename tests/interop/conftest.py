"""Fixtures of the tests with other tools."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gridgate.data.phantom.dataset import write_phantom_dataset
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.checkpoints import carry_plan
from gridgate.pipeline.plans.plan import Plan
from gridgate.pipeline.plans.writing import write_bundle

sys.path.insert(0, str(Path(__file__).parent))  # for environments.py

MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a small bundle; with random weights, whose labels change from voxel to voxel."""

    def make(name: str, *, weights: bool = True, **settings: object) -> Path:
        plan = Plan.from_dict({**SMALL, "name": name, **settings})
        folder = write_bundle(plan, tmp_path / name)
        if weights:
            torch.manual_seed(0)
            network = build_network(
                plan.network, in_channels=plan.channels, out_channels=len(plan.labels)
            )
            (folder / "models").mkdir()
            torch.save(carry_plan(network.state_dict(), plan), folder / "models" / "model.pt")
        return folder

    return make


@pytest.fixture
def phantom_ct(tmp_path: Path) -> Path:
    """A dataset of two phantom CTs."""
    return write_phantom_dataset(tmp_path / "phantom", cases=2, progress=False)


SMALL = {
    "labels": ["background", "one", "two"],
    "spacing": [4.0, 4.0, 5.0],
    "roi_size": [32, 32, 32],
    "overlap": 0.25,
    "intensity": {"mode": "window", "low": -200, "high": 300},
    "network": {"name": "unet", "filters": [4, 8, 8, 8, 8]},
    "body_threshold": -500,
    "keep_largest": True,
    "training": {
        "epochs": 2,
        "iterations_per_epoch": 2,
        "batch_size": 2,
        "learning_rate": 0.01,
        "weight_decay": 0.0001,
        "warmup_iterations": 2,
        "average_decay": 0.8,
        "val_interval": 1,
        "patience": 0,
        "num_workers": 0,
        "loss": "dice_ce",
        "augmentation": {},
    },
}
