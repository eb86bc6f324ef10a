"""Trainings on all cases: none is held out, and nothing is said to be measured."""

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError, user_error
from gridgate.data.events import listening
from gridgate.pipeline.training.folder import saving

from ...small_bundle import evaluate, train
from .runs import assert_same_weights, rows

ALL: dict[str, Any] = {"folds": 1, "epochs": 2, "iterations_per_epoch": 2, "patience": 1}


@pytest.fixture(scope="module")
def told() -> list[Any]:
    """What the training below said: (event, facts), and the texts of its log."""
    return []


@pytest.fixture(scope="module")
def everything(
    phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory, told: list[Any]
) -> Path:
    """A training on all six cases, started by nnU-Net's word, of a dataset with its own folds."""
    data = Path(shutil.copytree(phantom_dataset, tmp_path_factory.mktemp("own") / "phantom"))
    ids = [case.id for case in load_dataset(data).cases]
    (data / "splits.json").write_text(json.dumps([{"train": ids[:2], "validation": ids[2:]}]))
    folder = tmp_path_factory.mktemp("everything") / "O"
    seen = _Texts()
    ours = logging.getLogger("gridgate")
    level = ours.level
    ours.addHandler(seen)
    ours.setLevel(logging.INFO)
    original = saving.Checkpoints._write

    def keep(self: saving.Checkpoints, name: str, content: dict) -> None:
        original(self, name, content)
        if name == "last.pt":
            shutil.copy(folder / name, folder / f"last_{content['epoch']}.pt")

    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            listening(lambda event, facts: told.append((event, facts))),
        ):
            patch.setattr(saving.Checkpoints, "_write", keep)
            train(data, folder, **{**ALL, "folds": 5, "fold": "all"})
    finally:
        ours.removeHandler(seen)
        ours.setLevel(level)
    told += seen.texts
    return folder


class _Texts(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def test_every_case_is_trained_on_and_the_files_of_folds_are_not_asked(
    everything: Path, phantom_dataset: Path, told: list[Any]
) -> None:
    ids = sorted(case.id for case in load_dataset(phantom_dataset).cases)
    kept = json.loads((everything / "splits.json").read_text())
    assert kept == [{"train": ids, "validation": []}]
    settings = json.loads((everything / "settings.json").read_text())["settings"]
    assert (settings["fold"], settings["folds"]) == (0, 1)
    assert any("splits.json: does not count, as --folds 1" in str(one) for one in told)
    assert any("6 of 6 labelled cases are trained on, and none is held out" in str(o) for o in told)
    assert any("--patience 1 ends nothing" in str(one) for one in told)


def test_no_dice_is_told_anywhere(everything: Path, told: list[Any]) -> None:
    table = rows(everything)
    assert [row["iteration"] for row in table] == ["2", "4"]
    dice = [float(row[name]) for row in table for name in row if name.startswith("dice_")]
    assert len(dice) == 14 and all(math.isnan(one) for one in dice)
    assert all(float(row["loss"]) > 0 for row in table)
    page = (everything / "report.html").read_text()
    assert "on all 6 cases of phantom; none was held out" in page
    assert "mean Dice" not in page and "not measured" in page
    readme = (everything / "docs" / "README.md").read_text()
    assert "Trained on all 6 cases of `phantom`; none was held out." in readme
    assert "averaged weights of the end" in readme and "mean Dice" not in readme
    lines = [one for one in told if isinstance(one, str) and one.startswith("epoch ")]
    assert len(lines) == 2 and all(line.endswith("no case is held out") for line in lines)
    (ended,) = (one[1] for one in told if one[0] == "trained")
    assert (ended["cases"], ended["held_out"]) == (6, 0) and "ran to its end" in ended["ended"]
    (first, *_) = (one[1] for one in told if one[0] == "epoch")
    assert first["best_dice"] is None and math.isnan(first["dice_mean"])


def test_the_weights_are_the_average_of_the_end(everything: Path) -> None:
    made = torch.load(everything / "models" / "model.pt", weights_only=True)
    last = torch.load(everything / "last.pt", weights_only=True)
    assert last["best_metric_epoch"] < 1
    assert all(torch.equal(made[name], last["average"][name]) for name in made)


def test_it_goes_on_as_if_it_had_not_been_stopped(
    everything: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    for name in ("last_1.pt", "settings.json", "splits.json", "metrics_train.csv"):
        shutil.copy(everything / name, tmp_path / name.replace("_1", ""))
    train(phantom_dataset, tmp_path, **ALL, resume=True)
    assert_same_weights(tmp_path / "last.pt", everything / "last.pt")
    assert [row["iteration"] for row in rows(tmp_path)] == ["2", "4"]
    assert (tmp_path / "models" / "model.pt").is_file()
    with pytest.raises(Exception, match=r".") as caught:
        train(phantom_dataset, tmp_path, **{**ALL, "folds": 3}, resume=True)
    assert "folds was 1 and is now 3" in str(user_error(caught.value))


def test_an_evaluation_of_its_own_cases_is_refused(
    everything: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    weights = str(everything / "models" / "model.pt")
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, tmp_path / "E", checkpoint=weights)
    error = user_error(caught.value)
    assert isinstance(error, ConfigError)
    assert "trained on all of its 6 cases, and held none out" in str(error)
    assert "cross_validation" not in str(error)
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(phantom_dataset, tmp_path / "E", checkpoint=weights, folds=1)
    assert "holds none out" in str(user_error(caught.value))
    assert not (tmp_path / "E").exists()


def test_a_file_of_folds_beside_it_is_refused_before_anything_is_written(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[]")
    for options in ({"folds": 1}, {"fold": "all", "folds": 5}):
        with pytest.raises(Exception, match=r".") as caught:
            train(phantom_dataset, tmp_path / "O", **options, splits=str(path))
        assert isinstance(user_error(caught.value), ConfigError)
        assert "mine.json says nothing" in str(user_error(caught.value))
    assert not (tmp_path / "O").exists()
