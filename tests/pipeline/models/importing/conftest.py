"""Result folders as nnU-Net writes them, and a stand-in for the package of its networks.

The real package asks for torchvision, so that the environment of these tests does not have it;
tests/interop runs the real one. The stand-in has the package's names and arguments.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

PACKAGE = "dynamic_network_architectures"
MakeModel = Callable[..., Path]


class PlainConvUNet(nn.Module):
    """Two convolutions, with the arguments of the package's class."""

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        conv_op: type[nn.Module],
        norm_op: type[nn.Module],
        features_per_stage: list[int],
        deep_supervision: bool,
        **others: Any,
    ) -> None:
        super().__init__()
        assert not deep_supervision
        width = features_per_stage[0]
        self.first = conv_op(input_channels, width, 3, padding=1)  # type: ignore[call-arg]
        self.norm = norm_op(width, affine=True)  # type: ignore[call-arg]
        self.last = conv_op(width, num_classes, 3, padding=1)  # type: ignore[call-arg]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(torch.relu(self.norm(self.first(x))))
        return found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's names, in the place of the package."""
    for name in (PACKAGE, f"{PACKAGE}.architectures", f"{PACKAGE}.architectures.unet"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    unet = sys.modules[f"{PACKAGE}.architectures.unet"]
    unet.PlainConvUNet = PlainConvUNet  # type: ignore[attr-defined]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Writes a result folder with random weights; keywords are values of plans and dataset."""

    def make(
        name: str = "results",
        *,
        folds: int = 1,
        seed: int = 0,
        labels: dict[str, Any] | None = None,
        order: list[int] | None = None,
        channels: int = 1,
        mirror: tuple[int, ...] | None = None,
        configuration: str = "3d_fullres",
        checkpoint: dict[str, Any] | None = None,
        plans: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Path:
        folder = tmp_path / name / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        labels = labels or {"background": 0, "liver": 1, "spleen": 2}
        dataset: dict[str, Any] = {"name": "Made", "labels": labels, "file_ending": ".nii.gz"}
        dataset["channel_names"] = {str(number): "CT" for number in range(channels)}
        if order is not None:
            dataset["regions_class_order"] = order
        heads = len(labels) - (order is not None)
        told = {**_plans(channels), **(plans or {})}
        told["configurations"]["3d_fullres"] |= settings
        folder.mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(told))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        for fold in range(folds):
            torch.manual_seed(seed + fold)
            options = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d}
            network = PlainConvUNet(
                channels, heads, features_per_stage=[3], deep_supervision=False, **options
            )
            (folder / f"fold_{fold}").mkdir()
            content = {
                "network_weights": network.state_dict(),
                "init_args": {"configuration": configuration, "device": torch.device("cpu")},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": mirror,
                "_best_ema": np.float32(0.5),
                "logging": {"lrs": [np.float64(0.1)]},
                **(checkpoint or {}),
            }
            torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
        return folder

    return make


def _plans(channels: int) -> dict[str, Any]:
    numbers = {"mean": 20.0, "std": 120.0, "percentile_00_5": -180.0, "percentile_99_5": 320.0}
    how = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [10, 12, 14],
        "spacing": [2.0, 1.5, 1.5],
        "normalization_schemes": ["CTNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**how, "order": 3},
        "resampling_fn_probabilities_kwargs": {**how, "order": 1},
        "architecture": {
            "network_class_name": f"{PACKAGE}.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 1,
                "features_per_stage": [3],
                "strides": [[1, 1, 1]],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "dropout_op": None,
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op"],
        },
    }
    return {
        "dataset_name": "Dataset901_Made",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {
            str(number): numbers for number in range(channels)
        },
    }
