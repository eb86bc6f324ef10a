"""Sliding-window inference: windows run in order along one axis, and finished rows are handed on as slabs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any, cast

import torch
from monai.inferers import SlidingWindowInferer

from ..data.errors import ConfigError
from ..transforms.slabs import ScoreSlabs, Slab
from .accumulator import Accumulator, background
from .device_memory import Downloads, accumulator_device, upload, watch_peak
from .precision import Amp, autocast_dtype
from .window_forward import OtherOutputError, WindowForward
from .window_grid import Layer, WindowGrid, bounding_box

Progress = Callable[[int, int], None]
_BATCH_BYTES = 2**28  # scores of a batch at the most, where its size is ours to choose: many classes run one by one
_PROBE_ROWS = 16  # of rows that no window touches, handed on at a time


class SlidingWindow(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with an accumulator as deep as one window instead of the whole volume.

    A drop-in: called with (inputs, network) it gives the scores of the whole volume. `slabs` gives them piece by
    piece, so that the volume of all classes never exists. Windows, weights and padding are MONAI's, so the scores are
    MONAI's within rounding; MONAI keeps classes x volume in float32 and twice at the end.

    Args:
        roi_size: window in voxels, one number an axis.
        overlap: share of a window that its neighbour covers again, 0 to below 1; one number, or one an axis.
        sw_batch_size: windows a forward pass; None: 1 on a CPU in bfloat16, 2 in float32, 4 on a GPU, fewer with
            very many classes. Halved when memory runs out.
        mirror_axes: test-time augmentation: the logits' mean over all flips along these spatial axes; never name an
            axis across which left and right are different labels.
        amp: see `precision.autocast_dtype`; in 16 bits the accumulator has 16 bits too (float16).
        probabilities: hand on the probabilities (softmax, or the sigmoid of one channel) of the blended logits, not the
            logits: what the model zoo's chain brings back to the scan's grid. Labels differ in a few voxels along
            boundaries, as the mean of probabilities is not the probability of the mean.
        fit_region: lay the windows over the box around the region, not over the whole volume, where that makes fewer:
            they stand at other places, so that scores differ as they do between two overlaps. Without it a window that
            does run is one of the whole volume's, and scores inside the region are those without a region.
        compile: run the network through torch.compile; pays off for many volumes.
        mode, sigma_scale, sw_device, device, cval, ...: as SlidingWindowInferer's; mode is "gaussian" by default, and
            what a volume smaller than a window is padded with its lowest value.

    Raises:
        ConfigError: an overlap or axis out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        *,
        overlap: float | Sequence[float] = 0.5,
        sw_batch_size: int | None = None,
        mirror_axes: Sequence[int] = (),
        amp: Amp = "auto",
        probabilities: bool = False,
        fit_region: bool = False,
        compile: bool = False,
        **options: Any,
    ) -> None:
        overlaps = [overlap] * len(roi_size) if isinstance(overlap, int | float) else list(overlap)
        if len(overlaps) != len(roi_size) or not all(0 <= share < 1 for share in overlaps):
            raise ConfigError(f"overlap {overlap} is not in 0 to below 1")
        if any(axis not in range(len(roi_size)) for axis in mirror_axes):
            raise ConfigError(f"mirror_axes {list(mirror_axes)} are not all axes of a {len(roi_size)}D window")
        for name in ("roi_weight_map", "process_fn", "with_coord"):
            if options.get(name):
                raise ConfigError(f"{name}: only MONAI's SlidingWindowInferer has it; use that as the inferer")
        if str(getattr(options.get("padding_mode"), "value", options.get("padding_mode", "constant"))) != "constant":
            raise ConfigError("padding_mode: only constant is there; use MONAI's SlidingWindowInferer for others")
        self.padding_value: float | None = options.get("cval")
        options.setdefault("mode", "gaussian")
        super().__init__(tuple(roi_size), sw_batch_size=sw_batch_size or 1, overlap=overlaps, **options)
        self.chosen_batch_size = sw_batch_size
        self.overlaps = overlaps
        self.mirror_axes = tuple(mirror_axes)
        self.amp = amp
        self.probabilities = probabilities
        self.fit_region = fit_region
        self.compile = compile
        self._compiled: tuple[Any, Any] | None = None

    def __call__(  # type: ignore[override]  # networks here give one tensor
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,
        region: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Scores (B, C, *spatial) float32 for an image (B, C_in, *spatial).

        Args:
            region: (B, 1, *spatial) or (*spatial), see `slabs`.
            args, kwargs: handed to the network.
        """
        # plain tensors: MetaTensor copies its metadata at each of the hundreds of operations
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        result: torch.Tensor | None = None
        try:
            for index, image in enumerate(plain):
                part = region if region is None or region.ndim < plain.ndim else region[index, 0]
                slabs = self.slabs(image, network, *args, region=part, **kwargs)
                for slab in slabs:
                    if result is None:
                        size = (len(plain), slab.scores.shape[-1], *plain.shape[2:])
                        result = torch.empty(size, dtype=torch.float32, device=self.device or slab.scores.device)
                    rows = result[index].movedim(1 + slabs.axis, 0)[slab.start : slab.start + len(slab.scores)]
                    rows.copy_(slab.scores.movedim(-1, 1))
        except OtherOutputError:
            if self.mirror_axes or region is not None:
                raise
            # several outputs, or one of another size: MONAI knows how to stitch those
            with torch.no_grad():
                return cast(torch.Tensor, super().__call__(plain, network, *args, **kwargs))
        assert result is not None, "an empty batch"
        return result

    def slabs(
        self,
        image: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,
        region: torch.Tensor | None = None,
        progress: Progress | None = None,
        stitch: str | torch.device | None = None,
        **kwargs: Any,
    ) -> ScoreSlabs:
        """The scores of one image, computed as they are asked for.

        Its `facts` hold, once all were read: seconds, network_seconds, windows, windows_skipped, and with mirroring
        mirror_agreement (0 to 1).

        Args:
            image: (C_in, *spatial), on the device to compute on unless `sw_device` was given.
            network: see WindowForward.
            region: (*spatial) bool; windows that hold none of it are not run, and what no window covers gets the
                background's score. None runs all.
            progress: called with (windows run, windows to run) after each batch; what it raises ends the run.
            stitch: device to accumulate on; None: `device`, or else where there is room.

        Raises:
            torch.OutOfMemoryError: not even one window fits into the device's memory.
            OtherOutputError: the network gives something else than one tensor of the windows' size.
        """
        image = image.as_tensor() if hasattr(image, "as_tensor") else image
        device = torch.device(self.sw_device) if self.sw_device is not None else image.device
        grid, starts, count = self._layout(image.shape[1:], region)
        dtype = autocast_dtype(device, self.amp)
        forward = WindowForward(
            self._network(network),
            dtype=dtype,
            mirror_axes=self.mirror_axes,
            batch_size=self.chosen_batch_size or default_batch_size(device, dtype),
            arguments=args,
            options=kwargs,
        )
        facts: dict[str, float] = {"windows": count, "windows_skipped": count - len(starts)}
        work = _Work(self, grid, forward, image, device, starts, progress, facts)
        work.stitch = torch.device(stitch) if stitch is not None else work.stitch
        return ScoreSlabs(grid.shape, grid.axis, work.rows, work.probabilities, facts)

    def _layout(
        self, shape: Sequence[int], region: torch.Tensor | None
    ) -> tuple[WindowGrid, Sequence[tuple[int, ...]], int]:
        """The grid, the windows of it that run, and of how many over the whole volume."""
        make = partial(WindowGrid, shape, cast(Sequence[int], self.roi_size), self.overlaps)
        grid = make()
        if region is None:
            return grid, grid.starts, len(grid.starts)
        region = region.to(torch.bool)
        starts, count = grid.touching(region), len(grid.starts)
        box = bounding_box(region) if self.fit_region else None
        if box is not None:
            fitted = make(box=box)
            fewer = fitted.touching(region)
            if len(fewer) < len(starts):  # moving windows changes labels along borders; for nothing it is not done
                return fitted, fewer, count
        return grid, starts, count

    def _network(self, network: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        if not self.compile:
            return network
        if self._compiled is None or self._compiled[0] is not network:
            compiled = torch.compile(network)
            self._compiled = (network, compiled)
        return cast(Callable[..., torch.Tensor], self._compiled[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}


class _Work:
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
            sigma_scale=cast(float, settings.sigma_scale),
            device=device,
        )
        self.order = (grid.axis, *(axis for axis in range(len(grid.shape)) if axis != grid.axis))
        self.importance = importance.permute(*self.order).contiguous()
        self.stitch = None if settings.device is None else torch.device(settings.device)
        self.accumulator: Accumulator | None = None
        self.unseen: list[tuple[int, int]] = []  # (first, rows) before the number of channels is known

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
        self.facts |= {"seconds": spent + perf_counter() - began, "network_seconds": self.forward.seconds}

    @torch.inference_mode()
    def _rows(self) -> Iterator[Slab]:
        watch_peak(self.device)
        scores = self._scores(self.starts)  # a batch may reach into the next layer: its windows wait here
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
                yield from copies.add(window, self.accumulator.sums.device if self.accumulator else self.device)
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
        rows, others = self.grid.roi_size[self.grid.axis], [self.grid.padded[axis] for axis in self.order[1:]]
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
            crop.append(slice(self.grid.before[axis], self.grid.before[axis] + self.grid.shape[axis]))
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


def default_batch_size(device: torch.device, dtype: torch.dtype | None) -> int:
    """Windows a forward pass: what was fastest on two cores; on a GPU enough to fill it without filling its memory."""
    if device.type == "cuda":
        return 4
    return 2 if dtype is None else 1
