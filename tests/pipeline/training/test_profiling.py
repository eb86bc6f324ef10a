"""Where the time of a training goes: parts that were made to take long are told as long."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.handlers import ValidationHandler
from torch.utils.data import Dataset

from gridgate.pipeline.config.identity import identity
from gridgate.pipeline.training import profiling
from gridgate.pipeline.training.engine import stopwatch
from gridgate.pipeline.training.engine.stopwatch import PARTS, Stopwatch, timed
from gridgate.pipeline.training.folder.saving import Checkpoints
from gridgate.pipeline.training.losses import build_loss
from gridgate.pipeline.training.profiling import COLUMNS, Profile
from gridgate.pipeline.training.run import run_training
from gridgate.pipeline.training.windows.loading import WindowLoader

from .small_trainer import network, trainer, validator, windows


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all that is measured."""
    made = Clock()
    for module in (stopwatch, profiling):
        monkeypatch.setattr(module, "time", made)
    return made


class Windows(Dataset[Any]):
    """Two windows, which take their time to be read at the start, and to be drawn."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.data = [{key: value[0] for key, value in one.items()} for one in windows(2)]
        self.sleep = sleep

    def load(self) -> None:
        self.sleep(100)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        self.sleep(1)
        return self.data[index]


def slow_engine(folder: Path, sleep: Callable[[float], None], workers: int = 0) -> Any:
    """A training of two iterations and one validation; each part takes a time of its own."""
    net = network()
    check = validator(net)

    class Schedule:
        def state_dict(self) -> dict[str, Any]:  # asked for at the start, and for last.pt
            sleep(200)
            return {}

    class Back(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            sleep(5)
            return gradient

    class Optimizer(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            sleep(7)
            super().step(closure)

    def slowly(seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any) -> Any:
            sleep(seconds)
            return function(*words)

        return call

    dice = build_loss("dice_ce")
    check.inferer = slowly(50, lambda image, net: net(image))
    return trainer(
        net,
        train_data_loader=WindowLoader(Windows(sleep), batch_size=1, num_workers=workers),
        inferer=slowly(2, lambda image, net: net(image)),
        loss_function=slowly(3, lambda logits, labels: Back.apply(dice(logits, labels))),
        optimizer=Optimizer(net.parameters(), lr=0.1),
        train_handlers=[
            ValidationHandler(interval=1, validator=check),
            Checkpoints(folder, validator=check, lr_scheduler=Schedule()),
            Profile(folder, validator=check),
        ],
    )


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "profile.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    return {row["part"]: row for row in rows}


def test_each_part_has_its_own_time(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = slow_engine(tmp_path, clock.sleep)
    cases = engine.data_loader.dataset
    run_training(engine, datasets=[cases], output_dir=tmp_path, dataset_dir="D")
    rows = table(tmp_path)
    seconds = {part: float(row["seconds"]) for part, row in rows.items()}
    assert seconds == {
        "read": 100,
        "augment": 2,
        "forward": 4,
        "loss": 6,
        "backward": 10,
        "step": 14,
        "validate": 100,
        "save": 200,
        "other": 200,  # the state at the start
        "whole": clock.now,
        "draw": 2,
    }
    assert list(seconds) == [*PARTS, "whole", "draw"]
    assert rows["backward"]["share"] == f"{10 / clock.now:.4f}" and rows["draw"]["share"] == ""
    assert rows["loss"]["ms_per_iteration"] == "3000.00"
    assert "where the time of 2 iterations went" in caplog.text and "backward" in caplog.text
    assert "__getitems__" not in vars(cases)  # the dataset is as it was


def test_the_parts_sum_to_the_wall_time(tmp_path: Path) -> None:
    engine = slow_engine(tmp_path, lambda seconds: time.sleep(seconds / 1000), workers=1)
    cases = engine.data_loader.dataset
    began = time.perf_counter()
    run_training(engine, datasets=[cases], output_dir=tmp_path, dataset_dir="D")
    took = time.perf_counter() - began
    seconds = {part: float(row["seconds"]) for part, row in table(tmp_path).items()}
    assert sum(seconds[part] for part in PARTS) == pytest.approx(seconds["whole"], abs=0.01)
    # what is left is the writing of the table
    assert 0.6 <= seconds["whole"] <= took < seconds["whole"] + 0.5
    assert seconds["draw"] >= 0.002  # two windows, in a worker process


def test_a_run_that_fails_is_told_too(tmp_path: Path, clock: Clock) -> None:
    engine = slow_engine(tmp_path, clock.sleep)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run()
    rows = table(tmp_path)
    assert rows["step"]["seconds"] == "7.000" and rows["validate"]["seconds"] == "0.000"


def test_it_changes_no_run() -> None:
    handlers = [{"_target_": "gridgate.pipeline.training.profiling.Profile", "x": 1}, {"a": 2}]
    assert identity({"profile": True, "handlers": handlers}) == {"handlers::0::a": 2}


def test_a_stopwatch_counts_one_part_at_a_time(clock: Clock) -> None:
    class Engine:
        stopwatch = Stopwatch()

    watch = Engine.stopwatch
    clock.sleep(64)  # before it starts
    watch.switch("forward")
    clock.sleep(1)
    with timed(Engine(), "save"):
        clock.sleep(2)
        assert watch.switch("validate") == "save"
        clock.sleep(4)
    clock.sleep(8)
    watch.stop()
    clock.sleep(32)
    watch.stop()
    assert watch.whole == 15
    assert {part: spent for part, spent in watch.seconds.items() if spent} == {
        "forward": 9.0,
        "save": 2.0,
        "validate": 4.0,
    }
    with timed(object(), "save"):  # an engine without one
        pass
