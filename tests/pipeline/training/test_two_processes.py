"""Two processes train what one does with batches of twice the size: the same weights in the end."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gridgate.pipeline.training import distributed
from gridgate.pipeline.training.losses import build_loss
from gridgate.pipeline.training.windows.crops import WindowSampler

from ... import forked
from .two_processes import CASES, LOSSES, Windows, trained

PARTS = (slice(0, 1), slice(1, 3), slice(3, 3))  # of three windows; the last has none
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What each of two processes has after the trainings of CASES, by Gloo."""
    folder = tmp_path_factory.mktemp("two")
    processes = [
        forked.start(
            "tests.pipeline.training.two_processes",
            [str(rank), "2", str(folder / "store"), str(folder)],
            cwd=REPOSITORY,
            stdout=folder / f"{rank}.out",
            stderr=folder / f"{rank}.err",
        )
        for rank in range(2)
    ]
    try:
        for rank, process in enumerate(processes):
            assert process.wait(120) == 0, (folder / f"{rank}.err").read_text()[-3000:]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def differences(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference of two trainings' weights and averages, relative to the largest."""
    found = []
    for part in ("weights", "average"):
        for name, tensor in first[part].items():
            other = second[part][name]
            found.append(float((tensor - other).abs().max() / other.abs().max()))
    return max(found)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: " ".join(map(str, CASES[n])))
def test_two_processes_give_the_weights_of_one_with_twice_the_batch(
    of_two: list[list[dict[str, Any]]], number: int
) -> None:
    name, options = CASES[number]
    first, second = (found[number] for found in of_two)
    one = trained(name, **options, rank=0, world_size=1, batch_size=4)
    assert differences(first, second) == 0
    if options.get("together", True):
        assert differences(first, one) < 1e-5
        # each process tells the loss of all windows
        torch.testing.assert_close(first["losses"], one["losses"], rtol=1e-4, atol=1e-5)
        assert torch.equal(first["losses"], second["losses"])
    else:  # what it is without: the test can tell
        assert differences(first, one) > 1e-3


def test_two_processes_see_the_windows_of_one_with_twice_the_batch() -> None:
    def batches(rank: int, world_size: int, size: int) -> list[set[int]]:
        windows = 5 * size * world_size
        sampler = WindowSampler(windows, rank=rank, world_size=world_size)
        found = []
        for epoch in (1, 2):
            sampler.set_epoch(epoch)
            keys = list(sampler)
            found += [set(keys[start : start + size]) for start in range(0, len(keys), size)]
        return found

    first, second, one = batches(0, 2, 3), batches(1, 2, 3), batches(0, 1, 6)
    assert len(first) == len(one) == 10
    assert [a | b for a, b in zip(first, second, strict=True)] == one
    assert all(len(keys) == 6 for keys in one)


def test_batch_norm_on_cpus_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network: network)
    distributed.distributed_network(nn.Sequential(nn.Conv3d(1, 1, 1), nn.InstanceNorm3d(1)))
    assert not caplog.records
    distributed.distributed_network(nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1)))
    assert "batch norm on CPUs" in caplog.text


@pytest.mark.parametrize("name", [name for name in LOSSES if "heads" not in name])
def test_sums_of_parts_give_monais_loss_of_the_whole(name: str) -> None:
    """What processes add up, by one: the loss as MONAI computes it, and its gradient."""
    loss: Any = build_loss(**LOSSES[name])
    regions = LOSSES[name].get("regions", False)
    channels = 1 if LOSSES[name].get("sigmoid") else 2 if regions else 3
    batch = [Windows(2 if channels == 1 else 3)[key] for key in range(3)]
    labels = torch.stack([one["label"] for one in batch])
    torch.manual_seed(0)
    logits = torch.randn(3, channels, 8, 8, 8, requires_grad=True)
    wanted = loss(logits, labels)
    (gradient,) = torch.autograd.grad(wanted, logits)
    if regions:
        inside, bits = loss.loss, [labels.int() & 1, labels.int() >> 1]
        pairs = [(logits[:, r : r + 1], bits[r]) for r in range(2)]
    else:
        inside, pairs = loss, [(logits, labels)]
    found = torch.stack(
        [
            inside.of_sums(sum(inside.summed(scores[k], truth[k]) for k in PARTS))
            for scores, truth in pairs
        ]
    ).mean()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits)[0], gradient, rtol=1e-4, atol=1e-9
    )
