"""What a run ran on: processor, memory, GPU and versions, as text for reports."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ...data.cores import usable_cores

_PACKAGES = ("gridgate", "torch", "monai", "numpy", "scipy", "nibabel", "SimpleITK")


def machine_facts() -> list[tuple[str, str]]:
    """Names and values of what matters for speed and for repeating a run.

    No names of persons or hosts.
    """
    cores = usable_cores()
    found = [
        ("processor", f"{processor()}, {cores} cores" if cores > 1 else f"{processor()}, 1 core")
    ]
    memory = _memory_gib()
    if memory is not None:
        found.append(("memory", f"{memory:.0f} GiB"))
    for index in range(torch.cuda.device_count()):
        found.append(("GPU", torch.cuda.get_device_name(index)))
    if torch.cuda.device_count() == 0:
        found.append(("GPU", "none used"))
    found.append(
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}")
    )
    return [*found, ("versions", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))]


def processor() -> str:
    """The CPU's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
