"""Running a network on windows: precision, mirroring, batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations
from time import perf_counter
from typing import Any

import torch

from ...networks.slices import SliceBySlice
from ...transforms.restore.regions import region_bits
from ...transforms.restore.thresholds import of_channel, score_threshold
from ...transforms.windows.sides import Sides
from ..models.devices import autocast, channels_last
from .out_of_memory import is_out_of_memory


class OtherOutputError(TypeError):
    """The network gives something else than one tensor of its input's spatial size."""


class WindowForward:
    """A network's scores for batches of windows, and what was seen on the way.

    Args:
        network: one tensor in, one of the same spatial size out; with an attribute
            `gives_probabilities` that is true its scores are probabilities, else logits.
        dtype: to autocast to, None for float32.
        mirror_axes: spatial axes; scores are the mean over all flips along them.
        sides: labels whose scores are exchanged where a window was mirrored from left to right.
        regions: channels overlap: each is a label of its own, and there is none for the background.
        thresholds: of regions, or of one channel, the probability above which a voxel is each; None
            is a half. Scores do not depend on them, the agreement of flips does.
        batch_size: at the most; halved for good when memory runs out.
        least: windows that PyTorch gets where there are fewer, see WindowKind.least_batch.
        arguments, options: handed to the network after the windows.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        *,
        dtype: torch.dtype | None,
        mirror_axes: Sequence[int] = (),
        sides: Sides | None = None,
        regions: bool = False,
        thresholds: Sequence[float] | None = None,
        batch_size: int = 1,
        least: int = 1,
        arguments: Sequence[Any] = (),
        options: dict[str, Any] | None = None,
    ) -> None:
        self.use(network)
        self.dtype = dtype
        self.regions = regions
        self.probabilities = bool(getattr(network, "gives_probabilities", False))
        self.threshold = score_threshold(thresholds, probabilities=self.probabilities)
        self.batch_size, self.least = max(1, batch_size), least
        self.arguments, self.options = tuple(arguments), dict(options or {})
        self.sides = sides or Sides()
        axes = sorted(set(mirror_axes))
        self.flips = list(
            chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
        )
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._agreement: list[torch.Tensor] = []

    def __call__(self, windows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Scores (B, C, *roi) for windows (B, C_in, *roi), in order, in batches that fit.

        Raises:
            torch.OutOfMemoryError, RuntimeError: not even one window fits, see is_out_of_memory.
            OtherOutputError: see there.
        """
        start = 0
        scores: torch.Tensor | None
        while start < len(windows):
            part = windows[start : start + self.batch_size]
            try:
                scores = self._scores(part)
            except Exception as error:
                if self.batch_size == 1 or not is_out_of_memory(error):
                    raise
                scores = None
            if scores is None:  # out of the except block, whose traceback holds what was computed
                self.batch_size //= 2
                torch.cuda.empty_cache()
                continue
            start += len(part)
            yield scores

    def use(self, network: Callable[..., Any]) -> None:
        """Run what is still to come by this: the same network, computed otherwise."""
        self.network = network
        self.of_pytorch = isinstance(network, torch.nn.Module)
        modules = network.modules() if isinstance(network, torch.nn.Module) else ()
        self.of_slices = any(isinstance(module, SliceBySlice) for module in modules)

    @property
    def mirror_agreement(self) -> float | None:
        """Share of the foreground of any flip on which each flip agrees with the mean, or None."""
        if not self._agreement:
            return None
        same, either = torch.stack(self._agreement).sum(0).tolist()
        return same / either if either else 1.0

    @property
    def seconds(self) -> float:
        """Spent in the network so far; on a GPU the GPU's own time, which waits for it."""
        if self._events:
            self._events[-1][1].synchronize()
            self._seconds += sum(start.elapsed_time(end) for start, end in self._events) / 1000
            self._events = []
        return self._seconds

    def _scores(self, windows: torch.Tensor) -> torch.Tensor:
        if windows.device.type != "cuda":
            began = perf_counter()
            scores = self._mirrored(windows)
            self._seconds += perf_counter() - began
            return scores
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        stream = torch.cuda.current_stream(windows.device)
        start.record(stream)
        scores = self._mirrored(windows)
        end.record(stream)
        self._events.append((start, end))
        return scores

    def _mirrored(self, windows: torch.Tensor) -> torch.Tensor:
        if len(self.flips) == 1:
            scores = self._run(windows)
        else:
            parts = []
            total: torch.Tensor | None = None
            for flip in self.flips:
                axes = tuple(2 + axis for axis in flip)
                flipped = self._run(windows.flip(axes) if axes else windows)
                back = flipped.float().flip(axes) if axes else flipped.float()
                if self.sides.crossed(flip):
                    back = back[:, self.sides.order(back.shape[1])]
                parts.append(self._labels(back))
                total = back if total is None else total.add_(back)
            assert total is not None
            scores = total.div_(len(self.flips))
            self._agreement.append(_agreement(self._labels(scores), parts))
        return scores

    def _labels(self, scores: torch.Tensor) -> torch.Tensor:
        """Labels of every second voxel along each axis: an eighth of the work, and enough."""
        few = scores[(slice(None), slice(None), *[slice(None, None, 2)] * (scores.ndim - 2))]
        if self.regions:
            return region_bits(few, dim=1, threshold=self.threshold)
        if few.shape[1] > 1:
            return few.argmax(1)
        return (few[:, 0] > of_channel(self.threshold, 0)).long()

    def _run(self, windows: torch.Tensor) -> torch.Tensor:
        count = len(windows)
        # the slices of a window for a 2D network are a batch already
        if count < self.least and self.of_pytorch and not self.of_slices:
            windows = windows.expand(self.least, *windows.shape[1:])
        with autocast(windows.device, self.dtype):
            scores = self.network(channels_last(windows), *self.arguments, **self.options)
        if not isinstance(scores, torch.Tensor) or scores.shape[2:] != windows.shape[2:]:
            raise OtherOutputError(
                "one tensor of the windows' size is wanted from the network, not "
                + (
                    f"{tuple(scores.shape)}"
                    if isinstance(scores, torch.Tensor)
                    else type(scores).__name__
                )
            )
        return scores[:count]


def _agreement(mean: torch.Tensor, flips: Sequence[torch.Tensor]) -> torch.Tensor:
    either = torch.zeros_like(mean, dtype=torch.bool)
    same = torch.ones_like(either)
    for labels in flips:
        either |= labels > 0
        same &= labels == mean
    either |= mean > 0
    return torch.stack([(same & either).sum(), either.sum()]).double().cpu()
