"""Which device, and which number format its convolutions are fastest in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from ...data.errors import ConfigError

Amp = Literal["auto", "gpu"] | bool
_ON = ("true", "yes", "on")
_OFF = ("false", "no", "off", "none", "null")


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device to compute on: "auto" is the first CUDA GPU, or the CPU where there is none.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    if str(name) == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is not known: use cpu, cuda or cuda:N") from error
    if str(device) == "cuda":
        device = torch.device("cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(
            f"device {name!r} is not here: PyTorch sees {found} CUDA GPUs; use --device cpu"
        )
    return device


def choose_devices(
    names: str | torch.device | Sequence[str | torch.device] = "auto",
) -> list[torch.device]:
    """The devices to share cases between.

    Args:
        names: as for `choose_device`; or several, "cuda:0,cuda:1" or a list; or "all" for every GPU
            that is seen.

    Raises:
        ConfigError: a name is unknown, there twice, or this machine has no such device.
    """
    if str(names) == "all":
        count = torch.cuda.device_count()
        return [torch.device(f"cuda:{index}") for index in range(count)] or [torch.device("cpu")]
    if isinstance(names, torch.device):
        return [names]
    parts = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    devices = [choose_device(part) for part in parts]
    if not devices or len(set(devices)) < len(devices):
        raise ConfigError(f"device {names!r}: name each device once, such as cuda:0,cuda:1")
    return devices


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX).

    Without it oneDNN falls back to a reference loop: a 3D convolution was 100 to 300 times slower
    than in float32 on an AVX2 machine, so autocast must never be on by default there.
    """
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast_dtype(device: torch.device, amp: Amp = "auto") -> torch.dtype | None:
    """The dtype to autocast to on this device, or None for float32.

    Args:
        amp: "auto" uses bfloat16 where the hardware has it and float16 on older GPUs; True insists,
            False is float32; "gpu" is float16 on a GPU and float32 on a CPU, as nnU-Net runs.

    Raises:
        ConfigError: it is none of these.
    """
    word = str(amp).lower()
    if word == "gpu":
        return torch.float16 if device.type == "cuda" else None
    if word in _OFF:
        return None
    if word not in ("auto", *_ON):
        raise ConfigError(f"--amp {amp}: it is auto, True, gpu or False")
    if device.type == "cuda":
        return (
            torch.bfloat16
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float16
        )
    if device.type == "cpu" and (word in _ON or cpu_has_bfloat16()):
        return torch.bfloat16
    return None


class _WithoutTF32:
    """A block in which cuDNN's convolutions are float32, in however many threads at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.backends.cudnn.allow_tf32
                torch.backends.cudnn.allow_tf32 = False
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cudnn.allow_tf32 = self._before


_WITHOUT_TF32 = _WithoutTF32()


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """A context in which the network runs in `dtype` (see `autocast_dtype`); None is float32.

    float32 on a GPU is float32 here: cuDNN's convolutions otherwise round their inputs to TF32's 10
    bits of mantissa, by PyTorch's default.
    """
    if dtype is not None:
        with torch.autocast(device.type, dtype=dtype):
            yield
        return
    with _WITHOUT_TF32, torch.autocast(device.type, enabled=False):
        yield


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The same image batch with its channels innermost, where oneDNN and cuDNN are faster.

    Args:
        tensor: (B, C, *spatial), 2 or 3 spatial axes.
    """
    layout = torch.channels_last_3d if tensor.ndim == 5 else torch.channels_last
    return tensor.contiguous(memory_format=layout)
