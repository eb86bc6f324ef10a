"""What sliding windows do when memory is short, and what 16 bits save."""

import pytest
import torch
from torch import nn

from gridgate.pipeline.inference import device_memory
from gridgate.pipeline.inference.sliding_window import SlidingWindow

from .window_network import Network, image


@pytest.fixture
def network() -> Network:
    return Network().eval()


def test_batches_shrink_when_memory_runs_out_and_other_errors_are_errors(network: Network) -> None:
    class Small(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if len(windows) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            result: torch.Tensor = network(windows)
            return result

    class Broken(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory, says this text, but it is another error")

    inputs = image(40, 30, 20)
    inferer = SlidingWindow((16, 16, 16), sw_batch_size=8, amp=False)
    torch.testing.assert_close(
        inferer(inputs, Small()), inferer(inputs, network), rtol=0, atol=1e-5
    )
    with pytest.raises(RuntimeError, match="another error") as caught:
        inferer(inputs, Broken())
    assert not isinstance(caught.value, torch.OutOfMemoryError)

    class Full(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        inferer(inputs, Full())


def test_where_the_accumulator_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda:0"), torch.device("cpu")
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: None if device == cpu else 1000)
    assert device_memory.accumulator_device(cpu, 10**15) == cpu
    assert device_memory.accumulator_device(gpu, 800) == gpu
    assert device_memory.accumulator_device(gpu, 999) == cpu


def test_16_bits_halve_the_accumulator_and_hardly_change_the_scores(network: Network) -> None:
    inputs = image(40, 24, 24)
    exact = SlidingWindow((16, 16, 16), amp=False)(inputs, network)
    half = SlidingWindow((16, 16, 16), amp=True)(
        inputs, network
    )  # bfloat16 in software where it must be
    slab = next(iter(SlidingWindow((16, 16, 16), amp=True).slabs(inputs[0], network)))
    assert slab.scores.dtype == torch.float16
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()
