"""The training workflow: what it writes, and what evaluation makes of it."""

from pathlib import Path

import pytest
import torch

from gridgate.data.errors import CheckpointError, DatasetError, user_error
from gridgate.networks import build
from gridgate.pipeline.models.checkpoints import load_weights

from ...small_bundle import evaluate, train
from .runs import LABELS, rows


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


def test_missing_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        train(tmp_path / "nowhere", tmp_path / "output")
    assert isinstance(user_error(caught.value), DatasetError)
    assert "nowhere" in str(user_error(caught.value))
    assert not (tmp_path / "output").exists()


def test_an_evaluation_refuses_cases_that_were_trained_on(
    whole: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, tmp_path, checkpoint=str(whole / "models" / "model.pt"), fold=1)
    assert "were trained on" in str(user_error(caught.value)) and "--fold 0" in str(
        user_error(caught.value)
    )
    evaluate(phantom_dataset, tmp_path, checkpoint=str(whole / "models" / "model.pt"), fold=0)


def test_weights_of_another_network_are_refused(whole: Path, tmp_path: Path) -> None:
    other = build("unet", out_channels=7, filters=[4, 4, 8, 8, 8])
    with pytest.raises(CheckpointError, match="another network"):
        load_weights(other, whole / "models" / "model.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"rubbish\.pt"):
        load_weights(other, tmp_path / "rubbish.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_weights(other, tmp_path / "nowhere.pt")
