"""nnU-Net's predictor on the benchmark's scan, in an interpreter that has nnunetv2.

Run by inference.py with a job file; writes <job's output>/mask.nii.gz. nnU-Net is told the same
spacing, window, patch and overlap; it resamples by cubic splines as it always does, and goes
without mirroring. All is done in one process (`predict_from_files_sequential`): for a single scan
its worker processes only add their start. The network is the contestants' own as TorchScript
("shared"), or a PlainConvUNet of nnU-Net's of 5.7 M random parameters ("plain").
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from stopwatch import ForwardClock, Stages, gpu_peak_gb, now, write_result


class _Clocked(torch.nn.Module):
    """A network whose forward passes are timed."""

    def __init__(self, network: torch.nn.Module, clock: ForwardClock) -> None:
        super().__init__()
        self.network = network
        self._timed = clock.wrap(lambda module, batch: module.network(batch))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        return self._timed(self, batch)


def plans(job: dict[str, Any]) -> dict[str, Any]:
    """What nnU-Net would have planned for this job; axes are x, y, z of RAS."""
    low, high = job["window"]
    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "benchmark",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": job["roi_size"],
        "median_image_size_in_voxels": job["roi_size"],
        "spacing": job["spacing"],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
    }
    # its CT normalisation clips at two percentiles; these numbers make it our window's
    intensity = {"mean": low, "std": high - low, "percentile_00_5": low, "percentile_99_5": high}
    return {
        "dataset_name": "Dataset999_Benchmark",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "NibabelIOWithReorient",  # to RAS, axes z, y, x
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensity},
        "configurations": {"3d_fullres": configuration},
    }


def plain_network(classes: int) -> torch.nn.Module:
    """nnU-Net's PlainConvUNet, narrowed to 5.7 M parameters."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        input_channels=1,
        n_stages=5,
        features_per_stage=[20, 40, 80, 160, 256],
        conv_op=torch.nn.Conv3d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=classes,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
    )


def dataset(job: dict[str, Any]) -> dict[str, Any]:
    """dataset.json of a training that never was."""
    labels = {"background": 0} | {f"label_{value}": value for value in range(1, job["classes"])}
    facts = {"channel_names": {"0": "CT"}, "labels": labels}
    return facts | {"numTraining": 0, "file_ending": ".nii.gz"}


def main() -> None:
    """One scan, from its path to the mask on disk, nnU-Net's three steps on the clock."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    import nnunetv2.inference.predict_from_raw_data as library
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    device = torch.device(job["device"])
    clock, stages = ForwardClock(), Stages()
    network = (
        plain_network(job["classes"])
        if job["nnunet_network"] == "plain"
        else torch.jit.load(job["script"])
    )
    network = _Clocked(network, clock).to(device).eval()
    manager = PlansManager(plans(job))
    configuration = manager.get_configuration("3d_fullres")
    predictor = library.nnUNetPredictor(
        tile_step_size=1 - job["overlap"],
        use_gaussian=True,
        use_mirroring=False,
        device=device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network, manager, configuration, [network.state_dict()], dataset(job), "nnUNetTrainer", None
    )
    preprocessor = configuration.preprocessor_class
    preprocessor.run_case = stages.wrap("read and preprocess", preprocessor.run_case)
    predictor.predict_logits_from_preprocessed_data = stages.wrap(
        "sliding window", predictor.predict_logits_from_preprocessed_data
    )
    library.export_prediction_from_logits = stages.wrap(
        "resample, argmax and write", library.export_prediction_from_logits
    )

    warm_up = now()
    with torch.inference_mode():
        for _ in range(2):  # TorchScript looks at the first passes before it settles
            network(torch.zeros(1, 1, *job["roi_size"], device=device))
    warm_up = now() - warm_up
    clock.reset()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    started = now()
    predictor.predict_from_files_sequential([[job["scan"]]], [str(Path(job["output"]) / "mask")])
    seconds = now() - started
    write_result(
        job["result"],
        {
            "warm_s": seconds,
            "warm_up_s": warm_up,
            "forward_s": clock.seconds,
            "windows": clock.windows,
            "stages": stages.seconds,
            "gpu_peak_gb": gpu_peak_gb(),
            "version": version("nnunetv2"),
            "parameters_m": sum(parameter.numel() for parameter in network.parameters()) / 1e6,
        },
    )


if __name__ == "__main__":
    main()
