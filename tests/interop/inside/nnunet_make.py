"""A result folder of nnU-Net with random weights, made by its own classes; its path is printed."""

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def train(network: torch.nn.Module, *, images: list, labels: list, steps: int, seed: int) -> None:
    """Some minutes of cross-entropy on z-scored volumes, so that borders are like real ones."""
    rng = np.random.default_rng(seed)
    cases = []
    for image, label in zip(images, labels, strict=True):
        volume = sitk.GetArrayFromImage(sitk.ReadImage(image)).astype(np.float32)
        volume = (volume - volume.mean()) / volume.std()
        cases.append((volume, sitk.GetArrayFromImage(sitk.ReadImage(label)).astype(np.int64)))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for _ in range(steps):
        volume, label = cases[rng.integers(len(cases))]
        low = [int(rng.integers(0, n - 23)) for n in volume.shape]
        box = tuple(slice(start, start + 24) for start in low)
        scores = network(torch.from_numpy(volume[box])[None, None])[0]
        weight = torch.tensor([0.2] + [1.0] * (scores.shape[1] - 1))
        truth = torch.from_numpy(label[box])[None]
        loss = torch.nn.functional.cross_entropy(scores, truth, weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


given = json.loads(sys.argv[1])
folder = Path(given["folder"]) / "nnUNetTrainer__nnUNetPlans__3d_fullres"
stages = 3
common = {
    "n_stages": stages,
    "features_per_stage": [4, 8, 12],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * stages,
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
counts = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
name = given.get("network", "PlainConvUNet")
options = {**common, counts[name]: [1, 1, 1]}
required = ["conv_op", "norm_op", "dropout_op", "nonlin"]
resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
schemes = given.get("schemes", ["CTNormalization"])
configuration = {
    "data_identifier": "x",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": given["patch"],
    "median_image_size_in_voxels": given["patch"],
    "spacing": given["spacing"],
    "normalization_schemes": schemes,
    "use_mask_for_norm": given.get("masked", [False] * len(schemes)),
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {**resampling, "order": 3},
    "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
    "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
    "architecture": {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": options,
        "_kw_requires_import": required,
    },
    "batch_dice": False,
}
numbers = {"mean": 20.0, "std": 120.0, "percentile_00_5": -180.0, "percentile_99_5": 320.0}
numbers |= {"min": -1000.0, "max": 2000.0, "median": 30.0}
transpose = given.get("transpose", [0, 1, 2])
plans = {
    "dataset_name": "Dataset901_Made",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": given["spacing"],
    "original_median_shape_after_transp": given["patch"],
    "image_reader_writer": given.get("reader", "SimpleITKIO"),
    "transpose_forward": transpose,
    "transpose_backward": [transpose.index(axis) for axis in range(3)],
    "configurations": {"3d_fullres": configuration},
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {str(c): numbers for c in range(len(schemes))},
}
dataset = {
    "name": "Made",
    "channel_names": given.get("channels", {"0": "CT"}),
    "labels": given["labels"],
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
if "regions_class_order" in given:
    dataset["regions_class_order"] = given["regions_class_order"]
heads = PlansManager(plans).get_label_manager(dataset).num_segmentation_heads
folder.mkdir(parents=True)
for file, content in (("plans.json", plans), ("dataset.json", dataset)):
    (folder / file).write_text(json.dumps(content))
for fold in range(given.get("folds", 1)):
    torch.manual_seed(given.get("seed", 0) + fold)
    made = get_network_from_plans(
        f"dynamic_network_architectures.architectures.unet.{name}",
        options,
        required,
        len(schemes),
        heads,
        deep_supervision=True,
    )
    if "train" in given:
        train(made, seed=fold, **given["train"])
    (folder / f"fold_{fold}").mkdir()
    checkpoint = {
        "network_weights": made.state_dict(),
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float32(0.5)], "lrs": [np.float64(0.01)]},
        "_best_ema": np.float32(0.5),
        "current_epoch": 1,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": fold,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (
            tuple(given["mirror"]) if given.get("mirror") is not None else None
        ),
    }
    torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
print(json.dumps(str(folder)))
