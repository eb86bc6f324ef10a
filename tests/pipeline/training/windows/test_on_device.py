"""Cases on the device that trains: the same windows, without workers, also when it is full."""

import logging
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandGaussianNoised

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.windows import crops
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler
from gridgate.pipeline.training.windows.loading import WindowLoader, can_fork
from gridgate.transforms import ClassIndicesd, augmentation

from ..small_trainer import network, trainer
from .stored_cases import PREPARE, assert_same, windows

CPU = torch.device("cpu")
SHAPES = ((20, 24, 22), (9, 18, 16), (26, 17, 30))
BYTES = sum(2 * 4 * a * b * c for a, b, c in SHAPES)


def partial(**options: Any) -> WindowDataset:
    """Three cases in memory; one is partly annotated, one of these has voxels to ignore."""
    draw = torch.Generator().manual_seed(4)
    items = []
    for number, shape in enumerate(SHAPES):
        image = MetaTensor(torch.rand(1, *shape, generator=draw), affine=torch.diag(
            torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64)))  # fmt: skip
        label = (image * 3).floor()
        if number == 2:
            label[:, :8] = -1
        items.append({"id": str(number), "image": image, "label": label})
        items[-1]["annotated"] = np.array([True, True, number != 1])
    settings = {"roi_size": (8, 8, 8), "label_count": 3, "rotation_probability": 0.5, **options}
    return WindowDataset(
        items,
        transform=Compose([ClassIndicesd("label", label_count=3)]),
        augmentation=augmentation(**settings),
        seed=3,
    )


def loader(dataset: WindowDataset, *, count: int = 8, **options: Any) -> WindowLoader:
    settings = {"windows_on_device": True, "device": CPU, "batch_size": 2, **options}
    return WindowLoader(dataset, sampler=WindowSampler(count), **settings)


def batches(data: WindowLoader) -> list[dict[str, torch.Tensor]]:
    return [{name: tensor.clone() for name, tensor in batch.items()} for batch in data]


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "on disk"])
def test_windows_are_the_same_bit_for_bit(stored: bool, phantom_dataset: Path, cache: Path) -> None:
    options = {"rotation_probability": 0.5, "scale_probability": 0.5, "roi_size": (20, 60, 16)}
    dataset = windows(phantom_dataset, cache if stored else None, preparing=PREPARE)
    dataset.augmentation = augmentation(label_count=7, **options)
    before = [dataset[key] for key in range(12)]
    assert dataset.move_to(CPU) and dataset.on_device
    assert dataset.on_disk == stored
    for key in (*range(12), 3):
        assert_same(dataset[key], before[key], f"window {key}")
    assert dataset.leave_device() and not dataset.on_device
    assert_same(dataset[5], before[5])


def test_a_case_on_disk_is_read_no_more(
    phantom_dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = windows(phantom_dataset, cache, preparing=PREPARE)
    dataset.augmentation = augmentation(roi_size=(8, 8, 8), label_count=7, foreground=0.0)
    dataset.move_to(CPU)
    monkeypatch.setattr(crops.StoredCases, "opened", lambda *_: pytest.fail("read again"))
    assert dataset[0]["image"].shape == (1, 8, 8, 8)


def test_what_is_annotated_and_ignored_is_told_alike() -> None:
    there, here = (
        batches(loader(partial(), count=24)),
        batches(loader(partial(), count=24, windows_on_device=False)),
    )
    assert_same(there, here)
    ignores = torch.cat([batch["ignores"] for batch in there])
    assert ignores.dtype == torch.bool and 0 < int(ignores.sum()) < 8  # of the third case, some
    assert there[0]["annotated"].shape == (2, 3)


def test_no_worker_is_started_and_the_epochs_go_on() -> None:
    data, plain = loader(partial(), num_workers=2, persistent_workers=True), partial()
    for epoch in (1, 2, 3):
        data.sampler.set_epoch(epoch)
        found = []
        for batch in data:
            assert multiprocessing.active_children() == []
            found.append(batch)
        keys = range(8 * (epoch - 1), 8 * epoch)
        wanted = [plain[key]["image"] for key in keys]
        assert torch.equal(torch.cat([batch["image"] for batch in found]), torch.stack(wanted))
    data.close()
    assert not data.is_on_device


@pytest.mark.parametrize("deterministic", [False, True])
def test_what_is_free_on_a_gpu_decides_nothing_where_all_is_to_be_the_same(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked: list[float | None] = []

    def move_to(device: torch.device, share: float | None = 1 / 3) -> bool:
        asked.append(share)
        return False

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic)
    try:
        for wanted in ("auto", True):
            dataset = partial()
            monkeypatch.setattr(dataset, "move_to", move_to)
            gpu = torch.device("cuda")
            assert len(list(loader(dataset, windows_on_device=wanted, device=gpu))) == 4
    finally:
        torch.use_deterministic_algorithms(before)
    assert asked == ([None] if deterministic else [1 / 3, None])
    assert ("not cut on cuda: a deterministic training" in caplog.text) is deterministic


def test_auto_is_for_a_gpu_and_for_cases_that_leave_it_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = loader(partial(), windows_on_device="auto")
    assert len(list(data)) == 4 and not data.is_on_device and "are cut on" not in caplog.text
    for free, fits in ((3 * BYTES, True), (3 * BYTES - 9, False)):
        caplog.clear()
        monkeypatch.setattr(crops, "free_on", lambda _, free=free: free)
        dataset = partial()
        assert dataset.move_to(CPU) is fits is dataset.on_device
        assert f"windows are {'' if fits else 'not '}cut on cpu: its cases" in caplog.text
    assert partial().move_to(CPU, share=None)  # true, whatever they take


@pytest.mark.parametrize("wrong", ["yes", None, 2])
def test_another_word_is_an_error_of_ours(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"windows_on_device .*auto, true or false"):
        loader(partial(), windows_on_device=wrong)


def test_what_needs_whole_cases_stays_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    noisy, other = partial(), partial()
    noisy.transform = Compose([RandGaussianNoised("image", prob=1.0), noisy.transform])
    other.augmentation = Compose([])
    for dataset in (noisy, other):
        caplog.clear()
        assert not dataset.move_to(CPU) and not dataset.on_device
        assert "wants whole cases, or a part of the preprocessing is random" in caplog.text


def test_a_device_that_is_full_at_once_gets_no_windows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(crops, "CasesOnDevice", full)
    data = loader(partial())
    assert_same(batches(data), batches(loader(partial(), windows_on_device=False)))
    assert not data.is_on_device and "its memory ran out" in caplog.text


@pytest.mark.skipif(not can_fork(), reason="no fork here")
def test_workers_make_the_rest_when_the_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = batches(loader(partial(), windows_on_device=False))
    dataset = partial()
    data = loader(dataset, num_workers=1, persistent_workers=True)
    apply, left = dataset.augmentation.apply, [3]

    def filling(case: Any, draw: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and dataset.on_device:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return apply(case, draw)

    monkeypatch.setattr(dataset.augmentation, "apply", filling)
    found = []
    for number, batch in enumerate(data):
        found.append({name: tensor.clone() for name, tensor in batch.items()})
        assert data.is_on_device == (number == 0)
        assert len(multiprocessing.active_children()) == (number > 0)
    assert_same(found, wanted)
    assert "memory of cpu ran out: windows are made by worker processes" in caplog.text
    assert_same(batches(data), wanted)  # the next epoch
    assert not data.is_on_device
    data.close()
    assert multiprocessing.active_children() == []


def trained(data: WindowLoader, net: torch.nn.Module, **options: Any) -> dict[str, torch.Tensor]:
    trainer(net, train_data_loader=data, max_epochs=2, seed=6, **options).run()
    return net.state_dict()


class Filling(torch.nn.Module):
    """A network that finds its device full from one of its passes on, while cases are there."""

    def __init__(self, data: WindowLoader, full: int) -> None:
        super().__init__()
        self.inside, self.data, self.passes, self.full = network(), data, 0, full

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self.passes >= self.full and self.data.is_on_device:
            raise torch.OutOfMemoryError("CUDA out of memory")
        found: torch.Tensor = self.inside(image)
        return found


def test_a_training_is_the_same_wherever_windows_are_made() -> None:
    usual = trained(loader(partial(), windows_on_device=False), network())
    data = loader(partial())
    assert_same(dict(trained(data, network())), dict(usual))
    assert not data.is_on_device  # a training that has ended takes no memory


def test_a_step_that_finds_no_memory_is_done_again_without_the_cases() -> None:
    usual = trained(loader(partial(), windows_on_device=False), network())
    data = loader(partial())
    net = Filling(data, full=3)
    torch.manual_seed(3)
    found = trained(data, net)
    assert net.passes == 9  # eight, and one twice
    assert_same({name.removeprefix("inside."): found[name] for name in found}, dict(usual))


def test_a_step_whose_gradients_are_half_made_is_not_done_again() -> None:
    data = loader(partial())
    with pytest.raises(torch.OutOfMemoryError):
        trained(data, Filling(data, full=2), accumulation_steps=2)


@pytest.mark.cuda
def test_windows_are_cut_on_a_gpu_and_its_memory_is_given_back() -> None:
    gpu = torch.device("cuda")
    data = loader(partial(), windows_on_device="auto", device=gpu)
    for batch, wanted in zip(data, loader(partial(), windows_on_device=False), strict=True):
        assert batch["image"].is_cuda and batch["label"].is_cuda and data.is_on_device
        torch.testing.assert_close(batch["image"].cpu(), wanted["image"], rtol=1e-4, atol=1e-4)
        assert (batch["label"].cpu() != wanted["label"]).double().mean() < 0.005
        assert torch.equal(batch["annotated"], wanted["annotated"])
        assert not batch["ignores"].is_cuda
    taken = torch.cuda.memory_allocated(gpu)
    data.close()
    assert torch.cuda.memory_allocated(gpu) < taken - BYTES / 2


@pytest.mark.cuda
def test_a_training_on_a_gpu_is_nearly_the_same_wherever_windows_are_made() -> None:
    def weights(where: bool) -> dict[str, torch.Tensor]:
        data = loader(partial(), windows_on_device=where, device=torch.device("cuda"))
        return trained(data, network().cuda(), device=torch.device("cuda"))

    there, here = weights(True), weights(False)
    for name, tensor in here.items():
        torch.testing.assert_close(there[name], tensor, rtol=1e-2, atol=1e-3)
