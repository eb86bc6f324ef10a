"""Learning rate schedulers: a resumed one gives the rates of one that was never stopped."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.optimizers import WarmupCosineSchedule
from torch.optim import SGD, lr_scheduler

from gridgate.pipeline.training.engine.scheduler_state import plain_state, restored_state

Make = Callable[[SGD], Any]


class Halving:
    """A callable of a LambdaLR with a state of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 0.5 ** (self.calls // 3)


def sequential(optimizer: SGD, *, total: int = 20) -> Any:
    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - 4)
    return lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[4])


SCHEDULERS: dict[str, Make] = {
    "warmup_cosine": lambda o: WarmupCosineSchedule(o, warmup_steps=4, t_total=20),
    "sequential": sequential,
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 5), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.95**step),
    "lambda_with_state": lambda o: lr_scheduler.LambdaLR(o, Halving()),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=40),
    "cyclic": lambda o: lr_scheduler.CyclicLR(
        o, 0.01, 0.1, step_size_up=3, scale_fn=lambda x: 0.9**x
    ),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [3, 9, 12]),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, total_iters=20, power=0.9),
}


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)


def steps(made: SGD, scheduler: Any, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        made.step()
        scheduler.step()
        rates.append(float(made.param_groups[0]["lr"]))
    return rates


def through_a_file(content: Any) -> Any:
    stream = io.BytesIO()
    torch.save(content, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def resumed(make: Make, at: int, again: Make | None = None) -> tuple[SGD, Any, list[float]]:
    """A new optimizer and scheduler that go on after `at` steps, and the rates until then."""
    before = optimizer()
    scheduler = make(before)
    first = plain_state(scheduler.state_dict())
    rates = steps(before, scheduler, at)
    saved = through_a_file([before.state_dict(), first, plain_state(scheduler.state_dict())])
    after = optimizer()
    new = (again or make)(after)
    state = restored_state(saved[2], saved[1], new.state_dict())
    after.load_state_dict(saved[0])
    new.load_state_dict(state)
    return after, new, rates


@pytest.mark.parametrize("at", [2, 4, 7])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_resumed_rates_are_those_of_an_uninterrupted_run(name: str, at: int) -> None:
    whole = optimizer()
    wanted = steps(whole, SCHEDULERS[name](whole), 15)
    made, scheduler, rates = resumed(SCHEDULERS[name], at)
    assert rates + steps(made, scheduler, 15 - at) == wanted  # to the last bit
    assert len(set(wanted)) > 2


def test_a_plateau_is_remembered() -> None:
    def make(made: SGD) -> Any:
        return lr_scheduler.ReduceLROnPlateau(made, mode="max", patience=2, factor=0.5)

    def run(scheduler: Any, made: SGD, values: list[float]) -> list[float]:
        rates = []
        for value in values:
            scheduler.step(value)
            rates.append(made.param_groups[0]["lr"])
        return rates

    values = [0.5, 0.6, 0.4, 0.55, 0.5, 0.5, 0.7, 0.1, 0.1, 0.1]
    whole = optimizer()
    wanted = run(make(whole), whole, values)
    before = optimizer()
    scheduler = make(before)
    first = plain_state(scheduler.state_dict())
    run(scheduler, before, values[:4])  # the best is 0.6, and two values were not better
    saved = through_a_file([before.state_dict(), plain_state(scheduler.state_dict())])
    after = optimizer()
    new = make(after)
    new.load_state_dict(restored_state(saved[1], first, new.state_dict()))
    after.load_state_dict(saved[0])
    assert run(new, after, values[4:]) == wanted[4:]
    assert len(set(wanted)) == 3


def test_more_steps_are_the_new_schedulers() -> None:
    short: Make = SCHEDULERS["warmup_cosine"]

    def longer(made: SGD) -> Any:
        return WarmupCosineSchedule(made, warmup_steps=4, t_total=40)

    made, scheduler, _ = resumed(short, 10, longer)
    rates = steps(made, scheduler, 30)
    whole = optimizer()
    assert rates == steps(whole, longer(whole), 40)[10:]
    assert rates[-1] == pytest.approx(0, abs=1e-12) and scheduler.t_total == 40
    # a second resume takes the longer total for its own
    again, scheduler, _ = resumed(longer, 25)
    assert steps(again, scheduler, 15) == rates[15:]


def test_more_steps_reach_nested_schedulers() -> None:
    _, scheduler, _ = resumed(SCHEDULERS["sequential"], 6, lambda o: sequential(o, total=30))
    assert scheduler._schedulers[1].T_max == 26
    assert scheduler._schedulers[1].last_epoch == 2 and scheduler.last_epoch == 6


def test_format_1_gives_the_position_alone() -> None:
    made = optimizer()
    scheduler = SCHEDULERS["warmup_cosine"](made)
    saved = {"last_epoch": 7, "_step_count": 8, "_last_lr": [0.01], "t_total": 99}
    scheduler.load_state_dict(restored_state(saved, None, scheduler.state_dict()))
    assert (scheduler.last_epoch, scheduler.t_total) == (7, 20)


def test_functions_are_left_out_and_nothing_else() -> None:
    state = {"a": (1, 2.5), "f": abs, "both": [{"x": None, "g": abs}, {}], "fs": [abs, 1]}
    assert plain_state(state) == {"a": [1, 2.5], "both": [{"x": None}, {}]}
