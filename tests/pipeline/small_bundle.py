"""A bundle's workflows on a network so small that a run takes a second."""

from pathlib import Path
from typing import Any

from monai.bundle import run

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "phantom_attention_unet" / "configs"
NETWORK: dict[str, Any] = {
    "architecture::filters": [4, 4, 8, 8, 8],
    "spacing": [10.0, 10.0, 10.0],
    "roi_size": [32, 32, 32],
    "device": "$torch.device('cpu')",
    "amp": False,
}
TRAINING: dict[str, Any] = {
    **NETWORK,
    "epochs": 3,
    "iterations_per_epoch": 3,
    "batch_size": 2,
    "val_interval": 1,
    "folds": 3,
    "num_workers": 0,
    "warmup_iterations": 2,
}
# in this process, so that tests can put their own parts in the place of ours; test_dealing.py has
# the worker processes; pages take longer than such a run
INFERENCE: dict[str, Any] = {**NETWORK, "overlap": 0.1, "isolate": False, "report": False}


def train(dataset: Path, output: Path, **options: Any) -> None:
    settings = {**TRAINING, "dataset_dir": str(dataset), "output_dir": str(output), **options}
    run("training", config_file=str(CONFIGS / "train.yaml"), **settings)


def infer(scans: Path, output: Path, **options: Any) -> None:
    settings = {**INFERENCE, "input_dir": str(scans), "output_dir": str(output), **options}
    run("inferring", config_file=str(CONFIGS / "inference.yaml"), **settings)


def evaluate(dataset: Path, output: Path, **options: Any) -> None:
    settings = {
        **INFERENCE,
        "dataset_dir": str(dataset),
        "output_dir": str(output),
        "folds": 3,
        **options,
    }
    run("evaluating", config_file=str(CONFIGS / "evaluate.yaml"), **settings)
