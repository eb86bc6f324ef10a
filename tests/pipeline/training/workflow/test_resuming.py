"""A training that stops and is resumed: nothing changes, and only its own run goes on."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from gridgate.data.errors import ConfigError, user_error
from gridgate.pipeline.training.windows.crops import WindowDataset

from .... import forked
from ...small_bundle import CONFIGS, TRAINING, train
from .runs import assert_same_weights, rows


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


def test_resumed_with_the_cases_on_disk_equals_uninterrupted_in_memory(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "O"
    output.mkdir()
    for name in ("last_1.pt", "settings.json", "splits.json", "metrics_train.csv"):
        shutil.copy(whole / name, output / name.replace("_1", ""))
    train(phantom_dataset, output, resume=True, cache_dir=str(tmp_path / "#1 cases"), num_workers=1)
    assert len(list((tmp_path / "#1 cases" / "cases").glob("*/*/case.json"))) == 2 * 4 + 2
    assert_same_weights(output / "last.pt", whole / "last.pt")
    assert [row["dice_mean"] for row in rows(output)] == [row["dice_mean"] for row in rows(whole)]


def test_resumed_with_windows_cut_on_the_device_equals_uninterrupted(
    whole: Path, phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    move_to = WindowDataset.move_to
    monkeypatch.setattr(
        WindowDataset, "move_to", lambda *given, **how: moved.append(move_to(*given, **how)) or True
    )
    for name in ("last_1.pt", "settings.json", "splits.json", "metrics_train.csv"):
        shutil.copy(whole / name, tmp_path / name.replace("_1", ""))
    train(phantom_dataset, tmp_path, resume=True, windows_on_device=True)
    assert moved == [True]
    assert_same_weights(tmp_path / "last.pt", whole / "last.pt")


def test_killed_in_the_middle_of_an_epoch_and_resumed(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    words = [f"--{name}={value}" for name, value in {**TRAINING, "iterations_per_epoch": 3}.items()]
    command = ["run", "training", "--config_file", f"{CONFIGS}/train.yaml"]
    command += ["--dataset_dir", str(phantom_dataset), "--output_dir", str(tmp_path), *words]
    nowhere = Path(os.devnull)
    process = forked.start(
        "monai.bundle", command, cwd=tmp_path.parent, stdout=nowhere, stderr=nowhere
    )
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
