"""One volume's windows, from the first to the last, and the slabs that come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from ...transforms.restore.slabs import ForwardFacts, Slab
from ..plans.windows import Padding
from .accumulator import Accumulator, background
from .device_memory import AsyncCopies, accumulator_device, upload, watch_peak
from .last_layer import LastLayer
from .out_of_memory import is_out_of_memory
from .window_engine import Faster
from .window_forward import WindowForward
from .window_grid import Layer, WindowGrid

Progress = Callable[[int, int], None]
# Scores of a batch at the most, where its size is ours to choose: many classes run one by one.
_BATCH_BYTES = 2**28
_ROWS_AT_A_TIME = 16  # of rows that no window touches


class WindowRun:
    """One volume's windows, from the first to the last.

    Args:
        grid: where the windows lie.
        starts: those of them that run, in order.
        forward: the network.
        image: (C_in, *spatial); padded here.
        padding: see Padding.
        importance: (*roi_size) float32, the weight of each voxel of a window.
        device: to compute on.
        accumulate_on: None: the device where there is room, else the machine's memory.
        adapts: make batches smaller where the scores are large.
        normalise: hand on probabilities instead of logits.
        regions: channels overlap.
        progress: called with (windows run, windows to run) after each batch.
        facts: filled in when all rows were read.
        last_layer: of the network, which gives features; see Accumulator.
        faster: asked with (seconds in the network, seconds still to come) after each batch; another
            engine for the rest, or None. Not where the network runs on a GPU, which it waits for.
    """

    def __init__(
        self,
        grid: WindowGrid,
        starts: Sequence[tuple[int, ...]],
        forward: WindowForward,
        image: torch.Tensor,
        *,
        padding: Padding,
        importance: torch.Tensor,
        device: torch.device,
        accumulate_on: torch.device | None,
        adapts: bool,
        normalise: bool,
        regions: bool,
        progress: Progress | None,
        facts: ForwardFacts,
        last_layer: LastLayer | None = None,
        faster: Faster | None = None,
    ) -> None:
        self.grid, self.forward, self.device, self.starts = grid, forward, device, starts
        self.image = pad(grid, image, padding)
        self.progress, self.facts = progress, facts
        self.last_layer = last_layer
        self.faster = faster if device.type == "cpu" else None
        self.normalise, self.regions = normalise, regions
        self.probabilities = forward.probabilities or normalise
        self.adapts = adapts
        self.order = (grid.axis, *(axis for axis in range(len(grid.shape)) if axis != grid.axis))
        self.importance = importance.permute(*self.order).contiguous()
        self.accumulate_on = accumulate_on
        self.accumulator: Accumulator | None = None
        # (first, rows) before the number of channels is known
        self.unseen: list[tuple[int, int]] = []

    def rows(self) -> Iterator[Slab]:
        """The slabs, computed as they are asked for."""
        yield from self._rows()
        self.facts.mirror_agreement = self.forward.mirror_agreement
        self.facts.network_seconds = self.forward.seconds

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
            channels = next(self._forward(self.grid.starts[:1])).shape[1]
            yield from self._unseen(self._classes(channels))

    def _scores(self, starts: Sequence[tuple[int, ...]]) -> Iterator[torch.Tensor]:
        """Scores (rows, *roi, C) of windows, the slabs' axis first, where they are accumulated."""
        copies = AsyncCopies()
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
                self._speed_up(done, len(starts))
                continue
            except torch.OutOfMemoryError:
                if self.accumulator is None or self.accumulator.sums.device.type == "cpu":
                    raise
            # the last way out: the accumulator leaves the device to the network
            self.accumulator.to(torch.device("cpu"))
            torch.cuda.empty_cache()

    def _speed_up(self, done: int, count: int) -> None:
        """Go on with another engine where one is found that is faster."""
        if self.faster is None or done >= count:
            return
        spent = self.forward.seconds
        engine = self.faster(spent, spent / done * (count - done))
        if engine is not None:
            self.forward.use(engine.forward)
            self.facts.engine += f", then {engine.in_words}"

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
            regions=self.regions,
            last_layer=self.last_layer,
        )
        device = self.accumulate_on or accumulator_device(self.device, needed)
        try:
            self.accumulator = make(device=device)
        except Exception as error:
            if device.type == "cpu" or not is_out_of_memory(error):
                raise
        if self.accumulator is None:
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
        yield from self._unseen(self.accumulator.classes)
        crop = [slice(low - layer.row, max(low, high) - layer.row)]
        for axis in self.order[1:]:
            crop.append(
                slice(self.grid.before[axis], self.grid.before[axis] + self.grid.shape[axis])
            )
        yield from self.accumulator.finish(layer.finished, low - before, crop)

    def _classes(self, channels: int) -> int:
        return channels if self.last_layer is None else self.last_layer.classes

    def _unseen(self, channels: int) -> Iterator[Slab]:
        """The rows before the first window that ran."""
        others = [self.grid.shape[axis] for axis in self.order[1:]]
        device = self.accumulator.sums.device if self.accumulator else self.device
        scores = background(channels, probabilities=self.probabilities, regions=self.regions)
        scores = scores.to(device)
        for first, rows in self.unseen:
            for row in range(first, first + rows, _ROWS_AT_A_TIME):
                count = min(_ROWS_AT_A_TIME, first + rows - row)
                yield Slab(row, scores.expand(count, *others, channels))
        self.unseen = []


def pad(grid: WindowGrid, image: torch.Tensor, padding: Padding) -> torch.Tensor:
    """The image (C_in, *spatial) at the grid's size, where it is smaller than a window."""
    # as in training; 0 is the mean of a z-scored image
    value = float(image.amin()) if padding is None else padding
    return grid.pad(image, None if isinstance(value, str) else value)
