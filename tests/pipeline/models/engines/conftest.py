"""What the engines' tests share: a small network, its windows, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gridgate.pipeline.models.engines.window_network import WindowKind

CPU = torch.device("cpu")
ROI = (16, 16, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def kind(
    shape: tuple[int, ...] = (1, *ROI), dtype: torch.dtype | None = None, threads: int = 1
) -> WindowKind:
    return WindowKind(shape, dtype, CPU, threads)


def network(channels: int = 1, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(channels, 4, 3, padding=1),
        nn.InstanceNorm3d(4),
        nn.LeakyReLU(),
        nn.Conv3d(4, classes, 1),
    ).eval()


def image(channels: int = 1) -> torch.Tensor:
    return torch.randn(1, channels, 24, 20, 18, generator=torch.Generator().manual_seed(1))
