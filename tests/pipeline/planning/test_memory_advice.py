"""Trainings that run out of memory: what their error says, and whether what it names would fit."""

import math
import re
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.handlers import ValidationHandler

from gridgate.data.errors import ConfigError
from gridgate.networks import network_facts
from gridgate.pipeline.models.build import build_network, to_device
from gridgate.pipeline.planning import memory_advice
from gridgate.pipeline.planning.decisions.fitting_step import fitting_steps
from gridgate.pipeline.planning.decisions.window_sizes import smaller_window
from gridgate.pipeline.planning.measures.free_memory import step_memory_left
from gridgate.pipeline.planning.measures.step_memory import CONTEXT_BYTES
from gridgate.pipeline.planning.measures.trial import Candidate
from gridgate.pipeline.planning.memory_advice import MemoryAdvice
from gridgate.pipeline.training.engine.soundness import TrainingError

from ..training.small_trainer import network, trainer, validator

UNET: dict[str, Any] = {"name": "unet", **network_facts("unet").small}
OPTIONS = {key: value for key, value in UNET.items() if key != "name"}
CANDIDATE = Candidate("unet", OPTIONS, 1, 3)
GB = 10**9
STEPS = (16, 16, 16)  # a window's sizes are multiples of these


def needed(window: Sequence[int], batch: int) -> int:
    """A device must have so much: 1 kB for each voxel of a batch, and what is there anyway."""
    return CONTEXT_BYTES + 1000 * math.prod(window) * batch


def failing(error: Exception, *, batch: int = 8, validating: bool = False, **more: Any) -> str:
    """What a training says whose first step, or first validation, raises an error."""

    class Failing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training is not validating:
                raise error
            return self.inner(x)

    net = Failing()
    check = validator(net)
    advice = MemoryAdvice(
        **{
            "validator": check,
            "architecture": UNET,
            "channels": 1,
            "outputs": 3,
            "roi_size": [64, 64, 48],
            "batch_size": batch,
            **more,
        }
    )
    engine = trainer(net, train_handlers=[ValidationHandler(interval=1, validator=check), advice])
    with pytest.raises(TrainingError) as caught:
        engine.run()
    assert caught.value.__cause__ is error
    return str(caught.value)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of 8 GB, of which 2.5 were free for steps, that need what `needed` says."""
    monkeypatch.setattr(memory_advice, "step_memory_left", lambda *_: int(2.5 * GB))
    monkeypatch.setattr(memory_advice, "device_memory", lambda _: 8 * GB)
    monkeypatch.setattr(Candidate, "divisor", lambda _: STEPS)
    monkeypatch.setattr(Candidate, "needed", lambda _, window, batch, half: needed(window, batch))


OF_CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def test_a_step_names_the_batch_that_fits(counted: None) -> None:
    text = failing(OF_CUDA, batch=64)
    assert "unet with 64 windows of 64 x 64 x 48 at once takes about 13.2 GB" in text
    assert "of 8.0 GB, 2.5 GB free for it" in text
    batch = int(re.findall(r"--batch_size (\d+)", text)[0])
    assert needed([64, 64, 48], batch) <= 2.5 * GB < needed([64, 64, 48], batch + 1)


def test_where_not_one_window_fits_a_smaller_one_is_named(counted: None) -> None:
    text = failing(OF_CUDA, batch=4, roi_size=[256, 256, 256])
    found = re.search(r'What would fit: --batch_size 2 --roi_size "\[(.*)\]"', text)
    assert found is not None
    window = [int(size) for size in found.group(1).split(",")]
    assert all(size % step == 0 for size, step in zip(window, STEPS, strict=True))
    larger = [size + step for size, step in zip(window, STEPS, strict=True)]
    assert needed(window, 2) <= 2.5 * GB < needed(larger, 2)


def test_accumulation_keeps_the_windows_of_a_step(counted: None) -> None:
    text = failing(OF_CUDA, batch=64, accumulation_steps=2)
    found = re.search(r"or --batch_size (\d+) --accumulation_steps (\d+)", text)
    assert found is not None
    batch, steps = int(found.group(1)), int(found.group(2))
    assert batch * steps == 128 and needed([64, 64, 48], batch) <= 2.5 * GB


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("memory", [0.7, 0.9, 1.3, 2.0, 5.0, 100.0])
def test_it_is_the_largest_that_fits(counted: None, batch: int, memory: float) -> None:
    """Against a search of all; and always smaller than what was asked for, which did not fit."""
    asked = [128, 96, 64]
    found = fitting_steps(CANDIDATE, asked, batch, memory=int(memory * GB), half=False)
    room = min(int(memory * GB), int(0.9 * needed(asked, batch)))
    fitting = [one for one in range(1, batch) if needed(asked, one) <= room]
    assert found.batch == max(fitting, default=None)
    few = min(batch, 2)
    window: list[int] | None = asked
    while window is not None and (window == asked or needed(window, few) > room):
        window = smaller_window(window, asked, STEPS)
    assert (found.window, found.window_batch) == (window, few)


def test_a_network_that_is_told_its_window_is_told_the_new_one(counted: None) -> None:
    architecture = {"name": "unetr", "img_size": [256, 256, 256]}
    text = failing(OF_CUDA, batch=1, architecture=architecture, roi_size=[256, 256, 256])
    sizes = re.findall(r'--(?:roi_size|architecture::img_size) "(\[.*?\])"', text)
    assert len(sizes) == 2 and sizes[0] == sizes[1]


def test_nothing_fits(counted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_advice, "step_memory_left", lambda *_: 1000)
    assert "No smaller batch and no window" in failing(OF_CUDA)


def test_validations_are_told_apart(counted: None) -> None:
    text = failing(OF_CUDA, validating=True)
    assert text.startswith("out of memory in a validation on cpu") and "--cache_dir" in text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", "ended without a word"),
        ("DataLoader worker (pid 12) is killed by signal: Killed. ", "the system has killed one"),
        ("DataLoader worker (pid 1) is killed by signal: Bus error. It is pos", "--shm-size"),
    ],
)
def test_workers_that_were_killed(said: str, told: str) -> None:
    text = failing(RuntimeError(said))
    assert told in text and "--num_workers 0" in text and "--cache_dir" in text


def test_memory_that_ran_out_in_a_worker() -> None:
    text = failing(MemoryError("Caught MemoryError in DataLoader worker process 1."))
    assert text.startswith("memory ran out in the worker processes") and "--num_workers 0" in text


def test_other_errors_stay_as_they_are() -> None:
    error = RuntimeError("out of memory of last week")
    with pytest.raises(RuntimeError) as caught:
        failing(error)
    assert caught.value is error


def test_a_real_error_of_the_cpu_in_a_real_step(tmp_path: Path) -> None:
    """PyTorch's own, from a limit of the process's memory."""
    net = build_network(UNET, in_channels=1, out_channels=3)
    size, batch = [64, 64, 64], 64
    windows = {"image": torch.zeros(batch, 1, *size), "label": torch.zeros(batch, 1, *size)}
    advice = MemoryAdvice(
        validator=validator(net),
        architecture=UNET,
        channels=1,
        outputs=3,
        roi_size=size,
        batch_size=batch,
    )
    engine = trainer(net, train_data_loader=[windows], train_handlers=[advice])
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(0.8 * GB), before[1]))
        left = step_memory_left(torch.device("cpu"), 0)
        with pytest.raises(TrainingError, match=r"on cpu .*--roi_size") as caught:
            engine.run()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert 0.7 * GB < left <= 0.8 * GB
    assert "DefaultCPUAllocator" in str(caught.value.__cause__)


def test_a_device_without_room_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()

    def full(*_: Any) -> None:
        raise OF_CUDA

    monkeypatch.setattr(net, "to", full)
    with pytest.raises(ConfigError, match=r"--device cpu: out of memory.*weights"):
        to_device(net, "cpu")
