"""A network's forward pass for windows of one size, whatever computes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from ....data.errors import ConfigError

_SAME = 0.01  # of the range of all scores: rounding is far below it, a wrong operation far above
_LARGE_WINDOW = 2**20  # voxels
_SMALL_WINDOW = 64**3


@dataclass(frozen=True)
class WindowKind:
    """What a forward pass is made for.

    Args:
        shape: (C_in, *roi) of a window, in voxels.
        dtype: 16-bit format to compute in, None for float32.
        device: to compute on.
        threads: of the CPU.
        batch: windows per forward pass of PyTorch, where a user says so.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    device: torch.device
    threads: int
    batch: int | None = None

    @property
    def number_format(self) -> str:
        """The format in words.

        >>> WindowKind((1, 8, 8, 8), None, torch.device("cpu"), 2).number_format
        'float32'
        """
        return str(self.dtype or torch.float32).removeprefix("torch.")

    @property
    def batch_size(self) -> int:
        """Windows per forward pass of PyTorch: as said, else few on a CPU, and 4 on a GPU.

        >>> [WindowKind((1, *size), None, torch.device("cpu"), 2).batch_size
        ...  for size in ((96, 96, 96), (80, 128, 128))]
        [2, 1]
        """
        if self.batch is not None:
            return self.batch
        if self.device.type == "cuda":
            return 4
        # two large ones take longer than one after another, and twice the memory
        return 2 if self.dtype is None and math.prod(self.shape[1:]) < _LARGE_WINDOW else 1

    @property
    def least_batch(self) -> int:
        """Windows that PyTorch gets where there are fewer: more of them take less time.

        It hands small float32 batches of one not to oneDNN but to a loop that is many times slower.

        >>> WindowKind((1, 32, 32, 32), None, torch.device("cpu"), 2).least_batch
        2
        """
        is_small = math.prod(self.shape) < _SMALL_WINDOW
        return 2 if is_small and self.dtype is None and self.device.type == "cpu" else 1


class WindowNetwork(ABC):
    """A network made for windows of one size; called with (B, C_in, *roi), it gives its scores.

    Windows run one after another: on a CPU a batch brings nothing.

    Args:
        network: what it computes, on the CPU, in eval mode.
        kind: of the windows.
    """

    def __init__(self, network: torch.nn.Module, kind: WindowKind) -> None:
        self.kind = kind
        self.gives_probabilities = bool(getattr(network, "gives_probabilities", False))

    def __call__(self, windows: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        """Scores (B, C, *roi), float32, the channels innermost in memory.

        Raises:
            ConfigError: windows of another size, or further arguments, which it was not made for.
        """
        if arguments or options or tuple(windows.shape[1:]) != self.kind.shape:
            raise ConfigError(
                f"this engine was made for windows {self.kind.shape} and nothing else, not for "
                f"{tuple(windows.shape[1:])}; use --engine torch"
            )
        scores = [self.run(window) for window in windows.float().contiguous()]
        return scores[0] if len(scores) == 1 else torch.cat(scores)

    @abstractmethod
    def run(self, window: torch.Tensor) -> torch.Tensor:
        """Scores (1, C, *roi) of a window (C_in, *roi), contiguous float32.

        The caller may keep them: nobody writes to them again.
        """


class ChannelsInnermost(torch.nn.Module):
    """A network whose scores are (B, *roi, C), float32, as whoever adds windows up reads them.

    Args:
        network: it takes (B, C_in, *roi) and gives (B, C, *roi).
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, C_in, *roi) -> (B, *roi, C)."""
        scores: torch.Tensor = self.network(windows)
        return scores.float().movedim(1, -1).contiguous()


def refuse_other_scores(network: torch.nn.Module, made: WindowNetwork, *, engine: str) -> None:
    """Compare a converted network with PyTorch's own scores, float32, on a window of noise.

    Raises:
        ConfigError: they are not the same but for rounding.
    """
    window = torch.randn(made.kind.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network(window[None]).float()
    got = made.run(window)
    span = float(wanted.max() - wanted.min())
    if got.shape != wanted.shape or not float((got - wanted).abs().max()) <= _SAME * span:
        raise ConfigError(
            f"--engine {engine}: {type(network).__name__} has other scores there than in PyTorch; "
            "use --engine torch"
        )
