"""How a training ends: early with its numbers, at its end, or stopped with how to go on."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from gridgate.data.events import listening
from gridgate.data.progress import EVERY, Progress
from gridgate.pipeline.cli.commands.train import _LastLine
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.training import run as training_run
from gridgate.pipeline.training.folder.trained_bundle import TrainedBundle
from gridgate.pipeline.training.handlers import EarlyStop, ProgressBar, TrainingRecord
from gridgate.pipeline.training.told import ending, validation_line

from .small_trainer import network, trainer, validator

NUMBERS: dict[str, Any] = {
    "epochs": 6,
    "iterations_per_epoch": 4,
    "batch_size": 1,
    "learning_rate": 0.1,
}
NUMBERS |= {"weight_decay": 0.0, "warmup_iterations": 0, "average_decay": 0.9, "val_interval": 1}
NUMBERS |= {"patience": 0, "num_workers": 0, "loss": "dice_ce", "augmentation": {}}
DICE = [0.5, 0.873, 0.6, 0.7, 0.8, 0.85]  # after each validation


def scored(epochs: int, patience: int, folder: Path) -> Any:
    """A training whose validations find the numbers of DICE."""
    net = network()
    check = validator(net, key_val_metric=None, metric_cmp_fn=lambda new, old: new > old)

    def find(engine: Any) -> None:
        value = DICE[int(train.state.epoch) - 1]
        if value > check.state.best_metric:
            check.state.best_metric, check.state.best_metric_epoch = value, train.state.epoch
        check.state.metrics = {"val_mean_dice": value, "val_dice_liver": value}

    plan = Plan.from_dict({**example_plan(), "training": NUMBERS})
    handlers = [
        ValidationHandler(interval=1, validator=check),
        EarlyStop(check, patience=patience),
        TrainedBundle(
            folder,
            plan=plan,
            bundle_root=folder / "bundle",
            validator=check,
            dataset_dir="liver",
            train_dataset=[1, 2],
            validation_dataset=[3],
        ),
    ]
    train = trainer(net, max_epochs=epochs, train_handlers=handlers)
    check.add_event_handler(Events.COMPLETED, find)
    return train


def test_an_early_stop_says_why_in_log_event_and_bundle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: list[tuple[str, dict[str, Any]]] = []
    train = scored(6, 3, tmp_path)
    with listening(lambda event, facts: heard.append((event, facts))):
        train.run()
    why = "ended after epoch 5 of 6: no better mean Dice than 0.873 (epoch 2) for 3 epochs"
    assert f"the training {why} (--patience 3)" in caplog.messages
    facts = {"epoch": 5, "epochs": 6, "best_epoch": 2, "best_dice": 0.873, "patience": 3}
    assert ("early_stop", facts) in heard
    assert f"20 iterations in 5 epochs: it {why}." in (tmp_path / "docs/README.md").read_text()
    assert ending(train) == why


def test_a_training_to_its_end_says_so(tmp_path: Path) -> None:
    """With a patience that ends in its last epoch as well: that stopped nothing."""
    train = scored(5, 3, tmp_path)
    train.run()
    assert ending(train) == "ran to its end, epoch 5 of 5"
    assert "it ran to its end, epoch 5 of 5." in (tmp_path / "docs/README.md").read_text()


def test_a_stopped_training_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(engine: Engine) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "emit", lambda *_, **__: pytest.fail("it has not ended"))
    train = scored(6, 0, tmp_path)
    train.add_event_handler(Events.EPOCH_STARTED(once=3), interrupt)
    dataset = SimpleNamespace(data=[1], load=lambda: None)
    with pytest.raises(KeyboardInterrupt, match="before the first epoch was saved"):
        training_run.run_training(
            train,
            datasets=[dataset],
            output_dir=tmp_path,
            dataset_dir="liver",  # type: ignore[list-item]
        )
    assert "--resume True" in (tmp_path / "docs/README.md").read_text()
    (tmp_path / "last.pt").write_bytes(b"")
    train = scored(6, 0, tmp_path)
    train.add_event_handler(Events.EPOCH_STARTED(once=3), interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"stopped in epoch 3 of 6; .*--resume True"):
        training_run.run_training(
            train,
            datasets=[dataset],
            output_dir=tmp_path,
            dataset_dir="liver",  # type: ignore[list-item]
        )


def test_the_last_line_of_a_training_on_all_cases(capsys: pytest.CaptureFixture[str]) -> None:
    last = _LastLine()
    last("epoch", {"best_epoch": None, "best_dice": None})
    ended = {"epoch": 4, "output": "O", "ended": "ran to its end, epoch 4 of 4"}
    last("trained", {**ended, "cases": 6, "held_out": 0})
    told = "O: trained for 4 epochs on 6 cases, and none was held out; it ran to its end"
    assert capsys.readouterr().out.startswith(told)


def test_a_bar_without_validation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Progress, "advance", lambda self, note="": shown.append(note))
    engine = Engine(lambda engine, batch: {"loss": torch.tensor(0.5)})
    ProgressBar(validator(network(), val_data_loader=[])).attach(engine)
    engine.run([0])
    assert shown == ["epoch 1, loss 0.500, no case held out"]


# lines


def test_many_labels_make_a_short_line() -> None:
    dice = {f"organ_{number}": number / 100 for number in range(50, 0, -1)} | {"none": float("nan")}
    line = validation_line(
        epoch=1, epochs=2, loss=1.0, mean=0.25, dice=dice, best=None, best_epoch=-1
    )
    assert line.endswith(
        "the lowest of 51 labels: organ_1 0.010, organ_2 0.020, organ_3 0.030, organ_4 0.040"
    )
    assert len(line) < 160


def test_a_label_that_is_not_there_is_a_dash() -> None:
    line = validation_line(
        epoch=4,
        epochs=4,
        loss=0.5,
        mean=0.5,
        dice={"a": 0.5, "b": float("nan")},
        best=0.5,
        best_epoch=4,
    )
    assert line == "epoch 4 of 4: loss 0.500, mean Dice 0.500 (the best); a 0.500, b -"


def test_a_long_training_leaves_few_lines_in_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 iterations of a second each, 20 validations, stderr no terminal."""
    clock = [0.0]
    monkeypatch.setattr("gridgate.data.progress._now", lambda: clock[0])
    caplog.set_level(logging.INFO)

    def step(engine: Engine, batch: Any) -> dict[str, torch.Tensor]:
        clock[0] += 1.0
        return {"loss": torch.tensor(0.5)}

    engine, net = Engine(step), network()
    check = validator(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    record = TrainingRecord(tmp_path, validator=check, optimizer=optimizer, labels=["a"])
    record.attach(engine)
    ProgressBar(check).attach(engine)
    engine.run([0] * 100, max_epochs=20)
    ours = [one for one in caplog.records if one.name.startswith("gridgate")]
    validations = [one for one in ours if one.name == "gridgate.validation"]
    assert len(validations) == 20 and all("\n" not in one.getMessage() for one in ours)
    assert len(ours) - len(validations) == pytest.approx(2000 / EVERY, abs=2)
