"""The machine that a bundle is planned for: its device, memory and time."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch

from ....data.cores import usable_cores
from ....data.errors import ConfigError
from ...models.devices import autocast_dtype, choose_device
from ...training.windows.place import free_memory

_SHARE = 0.9  # of a GPU's memory; its screen and other programs take some
_CPU_SHARE = 0.5  # of what is free: the cases, their readers and the system want theirs
_BUSY = 1.6  # runnable programs per core; a trial is one itself
_UNITS = {"": 1e9, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_TIMES = {"s": 1.0, "": 60.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Machine:
    """What a plan may use.

    Args:
        device: to measure on; None where a GPU was asked for that is not here.
        kind: "cuda" or "cpu".
        memory: bytes for a training step.
        half: the network trains in 16 bits there.
        seconds: of a training.
        why: where the memory's number is from.
        iterations: of a training, where these are given: the time then decides the window alone.
    """

    device: torch.device | None
    kind: str
    memory: int
    half: bool
    seconds: float
    why: str
    iterations: int | None = None


def planned_machine(
    device: str = "auto", memory: str | None = None, time: str | None = None
) -> Machine:
    """The machine of a plan.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1"; a GPU that is not here needs `memory`.
        memory: such as "16GB"; None: nine tenths of the GPU's, or half of what is free here.
        time: of a training, such as "20m", "1h" or "2d"; None is 1h.

    Raises:
        ConfigError: a text that is none of these; a GPU that is not here, without a memory.
    """
    seconds = parse_time(time or "1h")
    given = None if memory is None else parse_memory(memory)
    why = "" if memory is None else f"--memory {memory}"
    if device.startswith("cuda") and not torch.cuda.is_available():
        if given is None:
            raise ConfigError(
                f"--device {device}: there is no such GPU here; give its memory too, such as "
                "--memory 16GB, and the plan is made without measuring on it"
            )
        return Machine(None, "cuda", given, True, seconds, why)
    chosen = choose_device(device)
    half = autocast_dtype(chosen) is not None
    if given is not None:
        return Machine(chosen, chosen.type, given, half, seconds, why)
    if chosen.type == "cuda":
        total = torch.cuda.get_device_properties(chosen).total_memory
        why = f"{_SHARE:.0%} of {torch.cuda.get_device_name(chosen)}'s memory"
        return Machine(chosen, "cuda", int(_SHARE * total), half, seconds, why)
    why = f"{_CPU_SHARE:.0%} of the memory that is free here"
    return Machine(chosen, "cpu", int(_CPU_SHARE * free_memory()), half, seconds, why)


def parse_memory(text: str) -> int:
    """Bytes of a text such as 16GB, 16 GiB, 800MB; a number alone is in GB.

    Raises:
        ConfigError: anything else.

    >>> parse_memory("16GB"), parse_memory("1 GiB"), parse_memory("0.5")
    (16000000000, 1073741824, 500000000)
    """
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?)(i?)b?\s*", str(text), re.IGNORECASE)
    try:
        number = float(found.group(1)) if found else 0.0
    except ValueError:
        number = 0.0
    if found is None or number <= 0:
        raise ConfigError(f"--memory {text}: a size is wanted, such as 16GB")
    unit, binary = found.group(2).lower(), bool(found.group(3))
    power = {"k": 1, "m": 2, "g": 3, "t": 4}.get(unit, 3)
    return int(number * (1024**power if binary else _UNITS[unit]))


def parse_time(text: str) -> float:
    """Seconds of a text such as 20m, 1h, 1h30m, 90s, 2d; a number alone is in minutes.

    Raises:
        ConfigError: anything else, or no time at all.

    >>> parse_time("1h30m"), parse_time("20"), parse_time("90s")
    (5400.0, 1200.0, 90.0)
    """
    parts = re.findall(r"([\d.]+)\s*(min|[smhd]?)", str(text).lower())
    rest = re.sub(r"([\d.]+)\s*(min|[smhd]?)\s*", "", str(text).lower().strip())
    try:
        seconds = sum(float(number) * _TIMES[unit] for number, unit in parts)
    except ValueError:
        seconds = 0.0
    if rest or seconds <= 0:
        raise ConfigError(f"--time {text}: a time is wanted, such as 20m, 1h or 2d")
    return seconds


def busy() -> str:
    """What to say where other programs keep the CPU busy while it is measured; else nothing."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], usable_cores()
    if load < _BUSY * cores:
        return ""
    return (
        f". This machine is busy (load {load:.1f} on {cores} cores), so steps were measured slower "
        "than they are; plan anew when it is idle"
    )
