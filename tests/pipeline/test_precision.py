"""Devices and number formats: what is chosen where."""

from pathlib import Path

import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.models import devices as precision
from gridgate.pipeline.models.devices import (
    autocast,
    autocast_dtype,
    channels_last,
    choose_device,
    cpu_has_bfloat16,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, bfloat16: bool = True) -> None:
    """A machine of so many GPUs, as far as PyTorch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    # emulated, bfloat16 is there on any GPU; only the hardware's own is fast
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or bfloat16,
    )


def test_auto_is_the_first_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert (
        choose_device()
        == choose_device("auto")
        == choose_device("cpu")
        == choose_device(CPU)
        == CPU
    )
    gpus(monkeypatch, 2)
    assert choose_device() == CUDA
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2), (CUDA, 0)])
def test_a_gpu_that_is_not_here_is_refused(
    name: str | torch.device, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(ConfigError, match=f"PyTorch sees {count} CUDA GPUs; use --device cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "nvidia"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="use cpu, cuda or cuda:N"):
        choose_device(name)


@pytest.mark.parametrize(
    ("amp", "hardware", "wanted"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, None),  # bfloat16 by software is a hundred times slower
        (True, False, torch.bfloat16),
        (False, True, None),
        ("False", True, None),  # as a command line hands it on
        ("none", True, None),
        ("null", True, None),
        ("no", True, None),
        ("off", True, None),
        ("true", False, torch.bfloat16),
    ],
)
def test_the_cpus_format(
    amp: precision.Amp, hardware: bool, wanted: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: hardware)
    assert autocast_dtype(CPU, amp) is wanted


@pytest.mark.parametrize(
    ("amp", "bfloat16", "wanted"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float16),
        (True, False, torch.float16),
        (False, True, None),
    ],
)
def test_the_gpus_format(
    amp: precision.Amp, bfloat16: bool, wanted: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, 1, bfloat16=bfloat16)
    assert autocast_dtype(CUDA, amp) is wanted


def test_other_devices_stay_at_float32() -> None:
    assert autocast_dtype(torch.device("meta"), "auto") is None


def test_what_this_cpu_has_is_what_linux_says() -> None:
    facts = Path("/proc/cpuinfo")
    flags = (
        [line.split() for line in facts.read_text().splitlines() if line.startswith("flags")]
        if facts.exists()
        else []
    )
    if not flags:
        pytest.skip("/proc/cpuinfo names no flags here")
    assert cpu_has_bfloat16() == ("avx512_bf16" in flags[0] or "amx_tile" in flags[0])


def test_autocast_runs_in_the_format_and_none_is_float32() -> None:
    layer, inputs = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with autocast(CPU, torch.bfloat16):
        assert layer(inputs).dtype is torch.bfloat16
        with autocast(CPU, None):
            assert layer(inputs).dtype is torch.float32
    with autocast(CPU, None):
        assert layer(inputs).dtype is torch.float32


@pytest.mark.parametrize("size", [(5, 6), (5, 6, 7)])
def test_channels_last_changes_the_memory_alone(size: tuple[int, ...]) -> None:
    tensor = torch.randn(2, 3, *size)
    moved = channels_last(tensor)
    assert torch.equal(moved, tensor) and moved.shape == tensor.shape
    assert moved.stride(1) == 1 and tensor.stride(1) != 1


@pytest.mark.cuda
def test_a_real_gpu_computes_in_the_chosen_format() -> None:
    device = choose_device()
    assert device.type == "cuda"
    dtype = autocast_dtype(device)
    layer, inputs = torch.nn.Linear(8, 8).to(device), torch.ones(2, 8, device=device)
    with autocast(device, dtype):
        assert layer(inputs).dtype is dtype


def test_float32_in_two_threads_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves first does not give TF32 back to the other; who leaves last does."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    cpu = torch.device("cpu")
    first, second = precision.autocast(cpu, None), precision.autocast(cpu, None)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32 is False
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32 is True


@pytest.mark.parametrize("amp", ["float32", "bf16", "0", "ture"])
def test_a_word_that_means_no_format_is_refused(amp: str) -> None:
    with pytest.raises(ConfigError, match=f"--amp {amp}: it is auto, True, gpu or False"):
        autocast_dtype(CPU, amp)  # type: ignore[arg-type]
