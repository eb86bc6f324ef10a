"""Memory on the meta device against what a step really takes; machines; the pace of a training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.networks import network_facts
from gridgate.pipeline.costs.process import measured_in_process
from gridgate.pipeline.planning.decisions.duration import decide_duration, decide_epochs
from gridgate.pipeline.planning.measures import machine as machines
from gridgate.pipeline.planning.measures.machine import (
    Machine,
    parse_memory,
    parse_time,
    planned_machine,
)
from gridgate.pipeline.planning.measures.pace import Pace, measure_pace
from gridgate.pipeline.planning.measures.step_memory import _run, needed_bytes, step_bytes
from gridgate.pipeline.planning.measures.trial import Step

from .fingerprints import fingerprint, size

MIB = 2**20
UNET = {"name": "unet", **network_facts("unet").small}


def test_a_chain_of_layers_holds_what_can_be_counted() -> None:
    """Ten maps of 4 MiB for the backward pass; at the peak the loss and gradients beside them."""
    with torch.device("meta"):
        layers = [nn.Sequential(nn.Conv3d(1, 1, 1), nn.Tanh()) for _ in range(10)]
        few = _run(nn.Sequential(nn.Conv3d(1, 2, 1)), (1, 1, 128, 128, 64), False)
        many = _run(nn.Sequential(*layers, nn.Conv3d(1, 2, 1)), (1, 1, 128, 128, 64), False)
    assert many - few == pytest.approx(40 * MIB, abs=8 * MIB)


def test_weights_gradients_and_moments_count() -> None:
    """A layer of 4,000,000 weights: four numbers each, and two for AdamW to reckon with."""
    with torch.device("meta"):
        found = _run(nn.Sequential(nn.Conv3d(2000, 2000, 1, bias=False)), (1, 2000, 1, 1, 1), False)
    assert 4 * 4 * 4_000_000 <= found <= 6.1 * 4 * 4_000_000


def test_memory_grows_with_the_batch_and_halves_in_16_bits() -> None:
    one, two = (
        step_bytes(UNET, window=(64, 64, 64), batch=batch, channels=1, outputs=3)
        for batch in (1, 2)
    )
    assert 1.7 * one < two < 2.0 * one
    half = step_bytes(UNET, window=(64, 64, 64), batch=2, channels=1, outputs=3, half=True)
    assert 0.4 * two < half < 0.8 * two


@pytest.mark.slow
def test_it_is_near_what_a_step_really_takes() -> None:
    name = "attention_unet"
    options = dict(network_facts(name).small)
    wanted = {
        "name": name,
        "options": options,
        "window": [48, 48, 48],
        "in_channels": 1,
        "classes": 6,
        "batch": 2,
        "device": "cpu",
        "training": True,
    }
    found = {key: one[key] for one in measured_in_process(wanted, timeout=300) for key in one}
    if "training_bytes" not in found:
        pytest.skip(f"this system does not tell: {found}")
    counted = step_bytes(
        {"name": name, **options}, window=(48, 48, 48), batch=2, channels=1, outputs=6
    )
    assert 0.4 * found["training_bytes"] < counted < 1.1 * found["training_bytes"]
    assert needed_bytes(counted) > found["training_bytes"]


def test_a_window_that_a_network_refuses_is_named() -> None:
    with pytest.raises(ConfigError, match=r"windows of \[3, 3, 3\], 2 at once"):
        step_bytes(UNET, window=(3, 3, 3), batch=2, channels=1, outputs=3)


@pytest.mark.parametrize("text", ["", "0", "-1GB", "16XB", "1.2.3GB", "GB"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 16GB"):
        parse_memory(text)


@pytest.mark.parametrize("text", ["", "0h", "1 year", "h", "1.2.3h", "-5m", "5m later"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 20m, 1h or 2d"):
        parse_time(text)


def test_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    here = planned_machine("cpu", None, "20m")
    assert (here.kind, here.seconds, here.device) == ("cpu", 1200.0, torch.device("cpu"))
    assert here.memory > 0 and "50%" in here.why
    assert planned_machine("cpu", "3 GiB").memory == 3 * 2**30
    monkeypatch.setattr(machines, "free_memory", lambda: 2 * 10**9)  # a container's limit, too
    assert planned_machine("cpu").memory == 10**9
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="give its memory too"):
        planned_machine("cuda")
    away = planned_machine("cuda:0", "24GB")
    assert (away.device, away.kind, away.memory, away.half) == (None, "cuda", 24 * 10**9, True)
    with pytest.raises(ConfigError, match="tpu"):
        planned_machine("tpu")


def test_the_time_is_shared_between_reading_validating_and_iterating() -> None:
    machine = Machine(torch.device("cpu"), "cpu", 10**9, False, 1000.0, "")
    found = {
        one.name: one.value
        for one in decide_duration(Pace(0.5, 5.0, 40.0, 1.0), machine.seconds, {}, "small")
    }
    # 6 validations are 30 s of 960, ten would be more than a twentieth of them;
    # (1000 - 40 - 6 * 5) / 0.5 = 1860 iterations, in 30 epochs
    assert (found["epochs"], found["iterations_per_epoch"], found["val_interval"]) == (30, 62, 5)
    assert found["average_decay"] == pytest.approx(1 - 10 / 1860, abs=1e-4)
    # validations of 60 s: one is more than a twentieth of 960 s, and there is one in any case
    slow = {
        one.name: one.value
        for one in decide_duration(Pace(0.5, 60.0, 40.0, 1.0), machine.seconds, {}, "small")
    }
    assert slow["val_interval"] == 30
    with pytest.raises(ConfigError, match="--time: 17 minutes are too short: the start takes 40 s"):
        decide_duration(Pace(60.0, 5.0, 40.0, 1.0), machine.seconds, {}, "small")
    asked = decide_duration(
        Pace(0.5, 5.0, 40.0, 1.0), machine.seconds, {"learning_rate": 1e-4}, "small"
    )
    assert next(one for one in asked if one.name == "learning_rate").value == 1e-4
    unknown = {one.name: one.value for one in decide_duration(None, machine.seconds, {}, "paper")}
    assert unknown["epochs"] * unknown["iterations_per_epoch"] == pytest.approx(25_000, rel=0.01)
    # the end, where the learning rate is 0, is validated
    assert unknown["epochs"] == 30 and unknown["epochs"] % unknown["val_interval"] == 0


def test_given_iterations_are_made_whatever_the_time() -> None:
    told = {"iterations": 100}
    found = {
        one.name: one.value
        for one in decide_duration(Pace(60.0, 5.0, 40.0, 1.0), 30.0, {}, "small", **told)
    }
    assert found["epochs"] * found["iterations_per_epoch"] == 100
    assert found["warmup_iterations"] == 10 and found["average_decay"] == 0.9


@given(st.one_of(st.integers(1, 120), st.integers(1, 50_000)))
def test_epochs_lose_few_iterations(iterations: int) -> None:
    epochs, each = (one.value for one in decide_epochs(iterations, ""))
    assert 1 <= epochs <= 30 and epochs * each <= iterations
    assert epochs * each >= iterations * (0.96 if iterations > 30 else 1)


def test_the_pace_counts_windows_and_cases() -> None:
    found = fingerprint([{"liver": size()}] * 11, shape=(64, 32, 32))
    machine = Machine(torch.device("cpu"), "cpu", 10**9, False, 1000.0, "")
    pace = measure_pace(found, (1.0, 1.0, 1.0), [32, 32, 32], 2, Step(1.0, 0.4, None), machine)
    # 3 windows of a quarter overlap along x, 3 validation cases of 11, 0.2 s a window
    assert pace.validation == pytest.approx(3 * 3 * 0.2)
    assert pace.reading == pytest.approx(11 * 0.5 / 2)
    assert 1.0 < pace.iteration < 3.0
