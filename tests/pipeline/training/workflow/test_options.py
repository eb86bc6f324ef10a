"""Trainings with options: early stop, deep supervision, one channel, CUDA, processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ...small_bundle import CONFIGS, TRAINING, train
from .runs import LABELS, rows


def test_early_stop_ends_the_run_and_keeps_the_best(phantom_dataset: Path, tmp_path: Path) -> None:
    # without learning nothing ever gets better than the first validation
    train(
        phantom_dataset, tmp_path, epochs=9, patience=2, learning_rate=0.0, iterations_per_epoch=1
    )
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["best_metric_epoch"] == 1
    assert (tmp_path / "models" / "model.pt").is_file()
    page = (tmp_path / "docs" / "README.md").read_text()
    assert "| liver | 0." in page and "for 2 epochs" in page

    # gone on with it stays where it is, and tells the same; with more patience it goes on
    weights = (tmp_path / "models" / "model.pt").read_bytes()
    again = {"epochs": 9, "learning_rate": 0.0, "iterations_per_epoch": 1, "resume": True}
    train(phantom_dataset, tmp_path, patience=2, **again)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert (tmp_path / "models" / "model.pt").read_bytes() == weights
    told = (tmp_path / "docs" / "README.md").read_text()
    assert "| liver | 0." in told and "for 2 epochs" in told
    train(phantom_dataset, tmp_path, patience=3, **again)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3", "4"]


def test_deep_supervision_trains_a_network_with_several_outputs(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    network = {
        "_target_": "monai.networks.nets.DynUNet",
        **{
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 7,
            "kernel_size": [3, 3, 3],
            "strides": [1, 2, 2],
        },
        **{
            "upsample_kernel_size": [2, 2],
            "filters": [4, 8, 8],
            "deep_supervision": True,
            "deep_supr_num": 1,
        },
    }
    train(
        phantom_dataset,
        tmp_path,
        network_def=network,
        epochs=1,
        **{"train::inferer": "$lambda image, net: list(net(image).unbind(1))"},
        **{"train::loss::deep_supervision_weights": [1.0, 0.5]},
    )
    assert rows(tmp_path)[0]["dice_mean"]


def test_a_network_of_one_channel_with_sigmoid_is_trained_and_validated(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    train(
        phantom_dataset,
        tmp_path,
        labels=["background", "organ"],
        merge_labels=dict.fromkeys(LABELS, "organ"),
        epochs=3,
        iterations_per_epoch=12,
        learning_rate=0.02,
        **{"network_def::out_channels": 1, "train::loss::sigmoid": True},
    )
    scores = [float(row["dice_mean"]) for row in rows(tmp_path)]
    assert max(scores) > 0.3 and scores[-1] > scores[0]


@pytest.mark.cuda
def test_mixed_precision_on_cuda(phantom_dataset: Path, tmp_path: Path) -> None:
    train(phantom_dataset, tmp_path, device="$torch.device('cuda')", amp="auto", epochs=2)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]


@pytest.mark.slow
def test_two_processes_by_torchrun(phantom_dataset: Path, tmp_path: Path) -> None:
    """They end with the weights of one process with twice the batch."""
    shared = {
        "epochs": 1,
        "iterations_per_epoch": 1,
        "learning_rate": 0.1,
        "warmup_iterations": 0,
        "architecture::norm": "instance",
        "train::loss::name": "dice_ce_nnunet",
        # a step of Adam is of one size, however small the gradient and its rounding
        "train::optimizer::_target_": "torch.optim.SGD",
    }
    settings = {**TRAINING, **shared, "batch_size": 1}
    words = [f"--{name}={value}" for name, value in settings.items() if name != "device"]
    files = f"['{CONFIGS}/train.yaml','{CONFIGS}/multi_gpu_train.yaml']"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", files]
    two = tmp_path / "two"
    command += ["--dataset_dir", str(phantom_dataset), "--output_dir", str(two), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(rows(two)) == 1
    assert (two / "models" / "model.pt").is_file()
    for size in (1, 2):
        train(phantom_dataset, tmp_path / f"{size}", **shared, batch_size=size)
    # steps that follow would make more of the rounding, which other batch sizes have otherwise
    assert distance(two, tmp_path / "2") < 0.01 * distance(tmp_path / "1", tmp_path / "2")
    losses = [float(rows(folder)[0]["loss"]) for folder in (two, tmp_path / "2")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def distance(first: Path, second: Path) -> float:
    """Of two trainings' weights, as vectors."""
    a, b = (torch.load(one / "last.pt", weights_only=True)["network"] for one in (first, second))
    return float(sum((tensor - b[name]).square().sum() for name, tensor in a.items()) ** 0.5)
