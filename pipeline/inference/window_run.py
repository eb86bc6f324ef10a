"""One volume's windows, from the first to the last, and the slabs that come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from ...transforms.restore.slabs import Slab
from .accumulator import Accumulator, background
from .device_memory import Downloads, accumulator_device, upload, watch_peak
from .window_forward import WindowForward
from .window_grid import Layer, WindowGrid

if TYPE_CHECKING:
    from .sliding_window import SlidingWindow

Progress = Callable[[int, int], None]
_BATCH_BYTES = (
    2**28
)  # scores of a batch at the most, where its size is ours to choose: many classes run one by one
_PROBE_ROWS = 16  # of rows that no window touches, handed on at a time


class WindowRun:
    """One volume's windows, from the first to the last."""

    def __init__(
        self,
        settings: SlidingWindow,
        grid: WindowGrid,
        forward: WindowForward,
        image: torch.Tensor,
        device: torch.device,
        starts: Sequence[tuple[int, ...]],
        progress: Progress | None,
        facts: dict[str, float],
    ) -> None:
        self.grid, self.forward, self.device, self.starts = grid, forward, device, starts
        # volumes smaller than a window are padded as in training; 0 is the mean of a z-scored image
        value = settings.padding_value
        self.image = grid.pad(image, float(image.amin()) if value is None else value)
        self.progress, self.facts = progress, facts
        self.normalise = settings.probabilities
        self.probabilities = forward.probabilities or settings.probabilities
        self.adapts = settings.chosen_batch_size is None
        importance = grid.importance(
            mode=str(getattr(settings.mode, "value", settings.mode)),
            sigma_scale=settings.sigma_scale,
            device=device,
        )
        self.order = (grid.axis, *(axis for axis in range(len(grid.shape)) if axis != grid.axis))
        self.importance = importance.permute(*self.order).contiguous()
        self.stitch = None if settings.device is None else torch.device(settings.device)
        self.accumulator: Accumulator | None = None
        self.unseen: list[
            tuple[int, int]
        ] = []  # (first, rows) before the number of channels is known

    def rows(self) -> Iterator[Slab]:
        """The slabs; the clock of `facts` runs only while they are being made."""
        began, spent = perf_counter(), 0.0
        for slab in self._rows():
            spent += perf_counter() - began
            self.facts["seconds"] = spent
            yield slab
            began = perf_counter()
        if (agreement := self.forward.mirror_agreement) is not None:
            self.facts["mirror_agreement"] = agreement
        self.facts |= {
            "seconds": spent + perf_counter() - began,
            "network_seconds": self.forward.seconds,
        }

    @torch.inference_mode()
    def _rows(self) -> Iterator[Slab]:
        watch_peak(self.device)
        scores = self._scores(
            self.starts
        )  # a batch may reach into the next layer: its windows wait here
        for layer in self.grid.layers(self.starts):
            for start in layer.starts:
                self._add(next(scores), start)
            yield from self._finish(layer)
        if self.accumulator is None:  # no window at all: one is run for the number of channels
            self.progress = None
            yield from self._unseen(next(self._forward(self.grid.starts[:1])).shape[1])

    def _scores(self, starts: Sequence[tuple[int, ...]]) -> Iterator[torch.Tensor]:
        """Scores (rows, *roi, C) of windows, the slabs' axis first, where they are accumulated."""
        copies = Downloads()
        for scores in self._forward(starts):
            self._prepare(scores.shape[1])
            for window in scores.permute(0, *(2 + axis for axis in self.order), 1):
                yield from copies.add(
                    window, self.accumulator.sums.device if self.accumulator else self.device
                )
        yield from copies.rest()

    def _forward(self, starts: Sequence[tuple[int, ...]]) -> Iterator[torch.Tensor]:
        """Scores (B, C, *roi) of the windows, batch after batch."""
        done = 0
        while done < len(starts):
            # the first window comes alone and shows how large its scores are
            count = 1 if self.adapts and self.accumulator is None else self.forward.batch_size
            now = starts[done : done + count]
            windows = torch.stack([self.grid.window(self.image, start) for start in now])
            try:
                for scores in self.forward(upload(windows, self.device)):
                    if self.adapts:
                        fitting = int(_BATCH_BYTES / (scores[0].numel() * scores.element_size()))
                        self.forward.batch_size = max(1, min(self.forward.batch_size, fitting))
                    done += len(scores)
                    if self.progress is not None:
                        self.progress(done, len(starts))
                    yield scores
            except torch.OutOfMemoryError:
                # the last way out: the accumulator leaves the device to the network
                if self.accumulator is None or self.accumulator.sums.device.type == "cpu":
                    raise
                self.accumulator.to(torch.device("cpu"))
                torch.cuda.empty_cache()

    def _prepare(self, channels: int) -> None:
        """Make the accumulator, once the first scores tell how many channels there are."""
        if self.accumulator is not None:
            return
        rows, others = (
            self.grid.roi_size[self.grid.axis],
            [self.grid.padded[axis] for axis in self.order[1:]],
        )
        dtype = torch.float32 if self.forward.dtype is None else torch.float16
        needed = Accumulator.bytes_needed(rows, others, channels, dtype)
        make = partial(
            Accumulator,
            rows,
            others,
            channels,
            dtype=dtype,
            probabilities=self.forward.probabilities,
            normalise=self.normalise,
        )
        try:
            self.accumulator = make(device=self.stitch or accumulator_device(self.device, needed))
        except torch.OutOfMemoryError:
            self.accumulator = make(device=torch.device("cpu"))

    def _add(self, scores: torch.Tensor, start: tuple[int, ...]) -> None:
        assert self.accumulator is not None
        # a copy that was on its way when the accumulator moved
        scores = scores.to(self.accumulator.sums.device)
        self.importance = self.importance.to(scores.device)
        self.accumulator.add(scores, self.importance, [start[axis] for axis in self.order[1:]])

    def _finish(self, layer: Layer) -> Iterator[Slab]:
        # in the padded volume -> in the image
        before, size = self.grid.before[self.grid.axis], self.grid.shape[self.grid.axis]
        low, high = max(layer.row, before), min(layer.row + layer.finished, before + size)
        if self.accumulator is None:
            self.unseen.append((low - before, high - low))
            return
        yield from self._unseen(self.accumulator.sums.shape[-1])
        crop = [slice(low - layer.row, max(low, high) - layer.row)]
        for axis in self.order[1:]:
            crop.append(
                slice(self.grid.before[axis], self.grid.before[axis] + self.grid.shape[axis])
            )
        yield from self.accumulator.finish(layer.finished, low - before, crop)

    def _unseen(self, channels: int) -> Iterator[Slab]:
        """The rows before the first window that ran."""
        others = [self.grid.shape[axis] for axis in self.order[1:]]
        device = self.accumulator.sums.device if self.accumulator else self.device
        scores = background(channels, probabilities=self.probabilities).to(device)
        for first, rows in self.unseen:
            for row in range(first, first + rows, _PROBE_ROWS):
                count = min(_PROBE_ROWS, first + rows - row)
                yield Slab(row, scores.expand(count, *others, channels))
        self.unseen = []
