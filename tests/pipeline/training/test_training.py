"""The training workflow: what it writes, and that stopping and resuming changes nothing."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gridgate.data.errors import CheckpointError, ConfigError, DatasetError, user_error
from gridgate.networks import build
from gridgate.pipeline.models.checkpoints import load_weights
from gridgate.pipeline.training import saving as checkpoints
from gridgate.pipeline.training.losses import build_loss
from gridgate.pipeline.training.trainer import SegmentationTrainer, TrainingError

from ..small_bundle import CONFIGS, TRAINING, evaluate, train

LABELS = ["liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]


@pytest.fixture(scope="module")
def whole(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 3 epochs; its last.pt after each epoch is kept as last_<epoch>.pt."""
    folder = tmp_path_factory.mktemp("whole")
    original = checkpoints.Checkpoints._write

    def keep(self: checkpoints.Checkpoints, name: str, content: dict) -> None:
        original(self, name, content)
        if name == "last.pt":
            shutil.copy(folder / name, folder / f"last_{content['epoch']}.pt")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "_write", keep)
        train(phantom_dataset, folder)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics_train.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = (torch.load(path, weights_only=True) for path in (first, second))
    for part in ("network", "average"):
        assert a[part].keys() == b[part].keys()
        for name, tensor in a[part].items():
            assert torch.equal(tensor, b[part][name]), name


def test_contract(whole: Path) -> None:
    best = torch.load(whole / "models" / "model.pt", weights_only=True)
    assert best and all(type(tensor) is torch.Tensor for tensor in best.values())
    table = rows(whole)
    assert list(table[0]) == [
        *("epoch", "iteration", "seconds", "loss", "learning_rate", "dice_mean"),
        *(f"dice_{label}" for label in LABELS),
    ]
    assert [(row["epoch"], row["iteration"]) for row in table] == [
        ("1", "3"),
        ("2", "6"),
        ("3", "9"),
    ]
    assert list((whole / "tensorboard").glob("events*"))
    assert (whole / "splits.json").is_file()
    assert [path.name for path in whole.glob(".*")] == [".gridgate"]


def test_best_checkpoint_is_the_average_of_the_best_epoch(whole: Path) -> None:
    scores = [float(row["dice_mean"]) for row in rows(whole)]
    epoch = scores.index(max(scores)) + 1
    best = torch.load(whole / "models" / "model.pt", weights_only=True)
    kept = torch.load(whole / f"last_{epoch}.pt", weights_only=True)
    assert all(torch.equal(best[name], kept["average"][name]) for name in best)


def test_learning_rate_warms_up_and_falls(whole: Path) -> None:
    rates = [float(row["learning_rate"]) for row in rows(whole)]
    assert rates[0] > rates[1] > rates[2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("epoch", [1, 2])
def test_resumed_from_a_checkpoint_equals_uninterrupted(
    whole: Path, phantom_dataset: Path, tmp_path: Path, epoch: int
) -> None:
    shutil.copy(whole / f"last_{epoch}.pt", tmp_path / "last.pt")
    shutil.copy(whole / "metrics_train.csv", tmp_path)
    train(phantom_dataset, tmp_path, resume=True)
    assert_same_weights(tmp_path / "last.pt", whole / "last.pt")
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    for column in ("loss", "dice_mean", "learning_rate"):
        assert [row[column] for row in rows(tmp_path)] == [row[column] for row in rows(whole)]


def test_killed_in_the_middle_of_an_epoch_and_resumed(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    words = [f"--{name}={value}" for name, value in {**TRAINING, "iterations_per_epoch": 3}.items()]
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "training",
        "--config_file",
        f"{CONFIGS}/train.yaml",
    ]
    command += ["--dataset_dir", str(phantom_dataset), "--output_dir", str(tmp_path), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = torch.load(tmp_path / "last.pt", weights_only=True)["epoch"]
    train(phantom_dataset, tmp_path, resume=True)
    assert done < 3
    assert_same_weights(tmp_path / "last.pt", whole / "last.pt")
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]


def test_an_earlier_training_is_not_overwritten(whole: Path, phantom_dataset: Path) -> None:
    before = (whole / "last.pt").read_bytes()
    with pytest.raises(Exception, match=r".") as caught:
        train(phantom_dataset, whole)
    assert isinstance(user_error(caught.value), ConfigError)
    assert "--resume True" in str(user_error(caught.value))
    assert (whole / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        {"fold": 1},
        {"folds": 2},
        {"split_seed": 3},
        {"seed": 5},
        {"batch_size": 1},
        {"iterations_per_epoch": 4},
        {"learning_rate": 0.01},
        {"weight_decay": 0.5},
        {"warmup_iterations": 1},
        {"average_decay": 0.5},
        {"val_interval": 2},
        {"amp": True},
        {"spacing": [12.0, 10.0, 10.0]},
        {"orientation": "LPS"},
        {"roi_size": [32, 32, 48]},
        {"intensity::low": -100},
        {"mirror_axes": [0]},
        {"augmentation": {"noise": 0.0}},
        {"architecture::filters": [4, 4, 4, 4, 8]},
        {"train::loss::name": "sorensen_dice"},
        {"train::loss::batch": True},
        {"train::optimizer::lr": 0.01},
        {"train::lr_scheduler::cycles": 1.0},
        {"train::trainer::max_gradient_norm": 1.0},
        {"validate::inferer::overlap": 0.75},
        {"merge_labels": {"aorta": "pancreas"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_run_is_resumed_with_its_own_settings_only(
    whole: Path, phantom_dataset: Path, other: dict
) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with pytest.raises(Exception, match=r".") as caught:
        train(phantom_dataset, whole, resume=True, **other)
    error = user_error(caught.value)
    assert isinstance(error, ConfigError), caught.value
    assert next(iter(other)) in str(error) and " and is now " in str(error)
    after = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} <= {
        path for path in after if ".gridgate" in path.parts
    }


@pytest.mark.parametrize(
    "other",
    [
        {"patience": 9},
        {"cache_rate": 0.5},
        {"num_workers": 1},
        {"device": "cpu"},
        {"cudnn_benchmark": False},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_says_how_long_where_and_how_fast_may_change(
    whole: Path, phantom_dataset: Path, tmp_path: Path, other: dict
) -> None:
    for name in ("last.pt", "metrics_train.csv", "settings.json", "splits.json"):
        shutil.copy(whole / name, tmp_path / name)
    train(phantom_dataset, tmp_path, resume=True, **other)  # of a training that has ended
    assert_same_weights(tmp_path / "last.pt", whole / "last.pt")


def test_resumed_with_more_epochs_the_learning_rate_does_not_rise(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    for name in ("last.pt", "metrics_train.csv", "settings.json", "splits.json"):
        shutil.copy(whole / name, tmp_path / name)
    train(phantom_dataset, tmp_path, resume=True, epochs=5)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path)]
    assert len(rates) == 5
    # the schedule is that of five epochs now, and ends at zero
    assert rates[4] == pytest.approx(0, abs=1e-6) and rates[3] < 0.003 / 2


def test_an_evaluation_refuses_cases_that_were_trained_on(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, tmp_path, checkpoint=str(whole / "models" / "model.pt"), fold=1)
    assert "were trained on" in str(user_error(caught.value)) and "--fold 0" in str(
        user_error(caught.value)
    )
    evaluate(phantom_dataset, tmp_path, checkpoint=str(whole / "models" / "model.pt"), fold=0)


def test_a_training_that_diverges_ends_with_a_reason(phantom_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        train(
            phantom_dataset,
            tmp_path,
            learning_rate=1e30,
            warmup_iterations=0,
            iterations_per_epoch=9,
        )
    assert "learning_rate" in str(user_error(caught.value))


class SometimesNaN(torch.nn.Module):
    """A network whose gradients are NaN at the given forward passes."""

    def __init__(self, at: Callable[[int], bool]) -> None:
        super().__init__()
        self.convolution, self.at, self.passes = torch.nn.Conv3d(1, 2, 1), at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        if self.at(self.passes):
            y.register_hook(lambda gradient: gradient * float("nan"))
        self.passes += 1
        return y


def trainer(network: torch.nn.Module, steps: int) -> SegmentationTrainer:
    windows = [
        {"image": torch.rand(1, 1, 8, 8, 8), "label": torch.ones(1, 1, 8, 8, 8)}
        for _ in range(steps)
    ]
    return SegmentationTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=windows,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=build_loss("dice_ce"),
        amp=False,
    )


def test_steps_with_nan_gradients_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = SometimesNaN(lambda step: step in (1, 3))
    before = network.convolution.bias.detach().clone()
    trainer(network, 6).run()
    assert torch.isfinite(network.convolution.bias).all() and not torch.equal(
        network.convolution.bias, before
    )
    assert caplog.text.count("a step is passed over") == 2


def test_nothing_but_nan_gradients_ends_the_training() -> None:
    network = SometimesNaN(lambda step: step >= 2)
    with pytest.raises(TrainingError, match="--amp False"):
        trainer(network, 30).run()
    assert network.passes == 12 and torch.isfinite(network.convolution.bias).all()


def test_missing_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        train(tmp_path / "nowhere", tmp_path / "output")
    assert isinstance(user_error(caught.value), DatasetError)
    assert "nowhere" in str(user_error(caught.value))
    assert not (tmp_path / "output").exists()


def test_early_stop_ends_the_run_and_keeps_the_best(phantom_dataset: Path, tmp_path: Path) -> None:
    # without learning nothing ever gets better than the first validation
    train(
        phantom_dataset, tmp_path, epochs=9, patience=2, learning_rate=0.0, iterations_per_epoch=1
    )
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["best_metric_epoch"] == 1
    assert (tmp_path / "models" / "model.pt").is_file()


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


def test_weights_of_another_network_are_refused(whole: Path, tmp_path: Path) -> None:
    other = build("unet", out_channels=7, filters=[4, 4, 8, 8, 8])
    with pytest.raises(CheckpointError, match="another network"):
        load_weights(other, whole / "models" / "model.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"rubbish\.pt"):
        load_weights(other, tmp_path / "rubbish.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_weights(other, tmp_path / "nowhere.pt")


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
    settings = {**TRAINING, "epochs": 1, "device": "$torch.device('cpu')"}
    words = [f"--{name}={value}" for name, value in settings.items() if name != "device"]
    files = f"['{CONFIGS}/train.yaml','{CONFIGS}/multi_gpu_train.yaml']"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", files]
    command += ["--dataset_dir", str(phantom_dataset), "--output_dir", str(tmp_path), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(rows(tmp_path)) == 1
    assert (tmp_path / "models" / "model.pt").is_file()
