"""Checkpoints of a training: exact resume, the plan inside, errors of writing as they are."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.optimizers import WarmupCosineSchedule
from torch.optim import lr_scheduler

from gridgate.data.errors import CheckpointError, ConfigError, OutputError
from gridgate.pipeline.models.checkpoints import carried_plan, load_weights
from gridgate.pipeline.models.writing_weights import save_checkpoint
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.training.engine.trainer import TrainerEvents
from gridgate.pipeline.training.folder import saving
from gridgate.pipeline.training.folder.run_folder import write_result
from gridgate.pipeline.training.folder.training_table import read_training_record

from ..small_trainer import network, training

Schedule = Callable[[torch.optim.Optimizer], Any]


def sequential(optimizer: torch.optim.Optimizer) -> Any:
    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=6)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    return lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[6])


def cosine(total: int) -> Schedule:
    return lambda optimizer: WarmupCosineSchedule(optimizer, warmup_steps=3, t_total=total)


SCHEDULES: dict[str, Schedule] = {
    "sequential": sequential,
    "warmup_cosine": cosine(16),
    "own_function": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
}


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.pt", weights_only=True)


def assert_equal(first: Any, second: Any) -> None:
    """To the last bit, whatever is nested."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def stop_after(engine: Any, epoch: int) -> None:
    """As a kill right after the epoch's checkpoint."""

    class Killed(Exception):
        pass

    def kill(_: Any) -> None:
        raise Killed

    engine.add_event_handler(Events.EPOCH_COMPLETED(once=epoch), kill)
    with pytest.raises(Killed):
        engine.run()


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_equals_uninterrupted(
    name: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_SHARE", float("inf"))  # each epoch is written
    whole, part = tmp_path / "whole", tmp_path / "part"
    training(whole, epochs=4, schedule=SCHEDULES[name]).run()
    stop_after(training(part, epochs=4, schedule=SCHEDULES[name]), epoch)
    assert last(part)["epoch"] == epoch
    training(part, epochs=4, schedule=SCHEDULES[name], resume=True).run()
    assert_equal(last(part), last(whole))
    rows = [read_training_record(folder) for folder in (whole, part)]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1] and len(rows[0]) == 4


def test_epochs_too_short_to_be_written_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_SHARE", 1e-9)  # once, and then not for years
    whole, part = tmp_path / "whole", tmp_path / "part"
    training(whole, epochs=6, schedule=cosine(24), interval=4).run()
    assert last(whole)["epoch"] == 6, "the end is written in any case"
    stop_after(training(part, epochs=6, schedule=cosine(24), interval=4), 3)
    assert last(part)["epoch"] == 1
    stop_after(training(part, epochs=6, schedule=cosine(24), interval=4, resume=True), 5)
    assert last(part)["epoch"] == 4, "with a new best"
    training(part, epochs=6, schedule=cosine(24), interval=4, resume=True).run()
    assert_equal(last(part), last(whole))


def test_a_write_that_took_hours_does_not_put_off_the_next_for_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped while it writes, and goes on later, as by a batch system."""
    clock = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: clock[0])

    def slow(*told: Any) -> None:
        clock[0] += 7200  # two files at each new best, so four hours
        write_result(*told)

    monkeypatch.setattr(saving, "write_result", slow)
    engine = training(tmp_path, epochs=3, schedule=cosine(12), interval=9)
    seen: list[int] = []

    def wait(_: Any) -> None:
        seen.append(last(tmp_path)["epoch"])
        clock[0] += 601

    engine.add_event_handler(Events.EPOCH_COMPLETED, wait)
    engine.run()
    assert seen == [1, 2, 3]


def averaged_weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(last(folder)["average"])


@pytest.mark.parametrize("epochs", [2, 1])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_training_resumed_with_no_more_epochs_leaves_a_model(
    keep: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the second of five epochs; of "best" before the first validation."""
    monkeypatch.setattr(saving, "_SHARE", float("inf"))
    told: dict[str, Any] = {"keep": keep, "interval": 4, "schedule": cosine(20)}
    stop_after(training(tmp_path, epochs=5, **told), 2)
    assert not (tmp_path / "models").exists()
    training(tmp_path, epochs=epochs, resume=True, **told).run()
    found = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert_equal(dict(found), averaged_weights(tmp_path))


def test_a_training_whose_patience_is_over_when_it_is_resumed_leaves_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "best" the weights are there since the validation that was the best."""
    monkeypatch.setattr(saving, "_SHARE", float("inf"))
    told: dict[str, Any] = {"epochs": 5, "keep": "last", "schedule": cosine(20)}
    stop_after(training(tmp_path, **told), 3)
    engine = training(tmp_path, resume=True, **told)
    engine.add_event_handler(TrainerEvents.RESTORED, engine.terminate)
    engine.run()
    assert engine.state.epoch == 3
    found = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert_equal(dict(found), averaged_weights(tmp_path))


def test_the_best_weights_stay_when_a_training_is_resumed_with_no_more_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_SHARE", float("inf"))
    stop_after(training(tmp_path, epochs=5, schedule=cosine(20), interval=2), 3)
    before = (tmp_path / "models" / "model.pt").read_bytes()
    training(tmp_path, epochs=3, schedule=cosine(20), interval=2, resume=True).run()
    assert (tmp_path / "models" / "model.pt").read_bytes() == before


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_best_weights_or_those_of_the_end_are_kept(keep: str, tmp_path: Path) -> None:
    def ruined(optimizer: torch.optim.Optimizer) -> Any:  # in the fourth and last epoch
        return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 12 else 1e4)

    training(tmp_path, epochs=4, schedule=ruined, keep=keep).run()
    end = last(tmp_path)
    assert end["best_metric_epoch"] < 4
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    same = all(torch.equal(tensor, end["average"][name]) for name, tensor in kept.items())
    assert same == (keep == "last")


def test_checkpoints_stay_every_few_epochs(tmp_path: Path) -> None:
    found: dict[int, Any] = {}

    def note(engine: Any) -> None:
        weights = engine.average.module.state_dict()
        found[engine.state.epoch] = {name: one.clone() for name, one in weights.items()}

    engine = training(tmp_path, epochs=5, schedule=cosine(20), keep_every=2)
    engine.add_event_handler(Events.EPOCH_COMPLETED, note)
    engine.run()
    folder = tmp_path / "models"
    assert {path.name for path in folder.iterdir()} == {
        "model.pt",
        "epoch_0002.pt",
        "epoch_0004.pt",
    }
    for epoch in (2, 4):
        kept = torch.load(folder / f"epoch_{epoch:04d}.pt", weights_only=True)
        assert all(torch.equal(kept[name], one) for name, one in found[epoch].items())
    assert not torch.equal(*(next(iter(found[epoch].values())) for epoch in (2, 4)))
    with pytest.raises(ConfigError, match="keep_every -1"):
        training(tmp_path / "other", epochs=1, schedule=cosine(4), keep_every=-1)


def test_nothing_else_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="best or last"):
        training(tmp_path, epochs=1, schedule=cosine(4), keep="first")


@pytest.mark.parametrize("epoch", [1, 2, 4, 5])
def test_a_table_with_fewer_rows_than_epochs_resumes_exactly(epoch: int, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    training(whole, epochs=6, schedule=cosine(24), interval=3).run()
    stop_after(training(part, epochs=6, schedule=cosine(24), interval=3), epoch)
    training(part, epochs=6, schedule=cosine(24), interval=3, resume=True).run()
    rows = [read_training_record(folder) for folder in (whole, part)]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert [row["epoch"] for row in rows[1]] == ["3", "6"]


def test_resumed_with_more_epochs_the_schedule_is_the_longer_ones(tmp_path: Path) -> None:
    part = tmp_path / "part"
    training(part, epochs=4, schedule=cosine(16)).run()
    assert last(part)["lr_scheduler"]["t_total"] == 16
    training(part, epochs=6, schedule=cosine(24), resume=True).run()
    state = last(part)["lr_scheduler"]
    assert (state["t_total"], state["last_epoch"]) == (24, 24)
    assert state["_last_lr"][0] == pytest.approx(0, abs=1e-12)
    # and resumed once more, which now is the run of six epochs
    training(part, epochs=8, schedule=cosine(32), resume=True).run()
    assert last(part)["lr_scheduler"]["t_total"] == 32


def test_the_best_weights_carry_the_plan(tmp_path: Path) -> None:
    plan = Plan.from_dict(example_plan())
    training(tmp_path, epochs=1, schedule=cosine(4), plan=plan).run()
    content = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(type(tensor) is torch.Tensor for tensor in content.values())
    assert carried_plan(content)["fingerprint"] == plan.fingerprint  # type: ignore[index]
    load_weights(network(), tmp_path, plan=plan)
    with pytest.raises(CheckpointError, match="spacing"):
        load_weights(network(), tmp_path, plan=plan.replace(spacing=[2.0, 2.0, 2.0]))
    training(tmp_path / "bare", epochs=1, schedule=cosine(4)).run()
    bare = torch.load(tmp_path / "bare" / "models" / "model.pt", weights_only=True)
    assert carried_plan(bare) is None


def save(path: Path, content: Any) -> None:
    write_result(path.parent, path.name, lambda stream: save_checkpoint(content, stream))


def test_a_full_disk_is_told_and_the_earlier_checkpoint_stays(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save(path, {"weights": torch.zeros(3)})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))
    try:
        with pytest.raises(OutputError, match=r"last\.pt: cannot be written \(File too large\)"):
            save(path, {"weights": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name != ".gridgate"] == ["last.pt"]


@pytest.mark.parametrize("text", ["CUDA error: device-side assert", "PytorchStreamWriter failed"])
def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path, text: str) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise RuntimeError(text)

    path = tmp_path / "last.pt"
    save(path, {"weights": torch.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match=text):
        save(path, {"weights": Broken()})
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name != ".gridgate"] == ["last.pt"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the folder's place")
    with pytest.raises(OutputError, match="models"):
        training(tmp_path, epochs=1, schedule=cosine(4)).run()
