"""Sliding-window inference: windows in order along one axis, finished rows handed on as slabs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from monai.inferers import SlidingWindowInferer
from monai.utils import ensure_tuple_rep

from ...data.errors import ConfigError
from ...data.geometry.boxes import bounding_box
from ...networks.network_file import is_float32_only
from ...transforms.restore.slabs import ForwardFacts, ScoreSlabs
from ...transforms.windows.sides import Sides, refuse_lost_sides
from ..models.devices import Amp, autocast_dtype
from ..models.engines.engine import INT8, TORCH, Engine
from ..models.engines.window_network import WindowKind
from ..plans.windows import Padding, check_blend, checked_padding
from .coarse_pass import OVERLAP, coarser, found_region
from .window_engine import WindowEngine
from .window_forward import OtherOutputError, WindowForward
from .window_grid import WindowGrid
from .window_run import Progress, WindowRun, pad


class SlidingWindow(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with an accumulator only as deep as one window.

    A drop-in: called with (inputs, network) it gives the scores of the whole volume. `slabs` gives
    them piece by piece, so that the volume of all classes never exists. Windows, weights and
    padding are MONAI's, so the scores are MONAI's within rounding; MONAI keeps classes x volume in
    float32 and twice at the end.

    Args:
        roi_size: window in voxels, one number per axis.
        overlap: share of a window that its neighbour covers again, 0 to below 1; one number, or one
            per axis. An axis of 0 beside others above 0 (slices for a 2D network) has the same
            weight everywhere, unlike MONAI's.
        sw_batch_size: windows per forward pass; None: 1 on a CPU in bfloat16, 2 in float32 unless
            they are large, 4 on a GPU, fewer with very many classes. Halved when memory runs out.
        mirror_axes: test-time augmentation: the logits' mean over all flips along these spatial
            axes.
        amp: see `devices.autocast_dtype`; in 16 bits slabs have 16 bits too (float16), and large
            sums.
        probabilities: hand on the probabilities (softmax, or the sigmoid of one channel) of the
            blended logits, not the logits: what the model zoo's chain brings back to the scan's
            grid. Labels differ in a few voxels along boundaries, as the mean of probabilities is
            not the probability of the mean.
        side_pairs, labels, orientation: what mirroring from left to right makes of each other, see
            transforms.windows.sides.Sides.
        regions: the network's channels are regions, which overlap: probabilities are sigmoids, and
            no channel is the background's.
        thresholds: of regions, or of one channel, the probability above which a voxel is each: what
            counts as foreground in the flips' agreement. Scores do not depend on them.
        fit_region: lay the windows over the box around the region, not over the whole volume, where
            that makes fewer:
            they stand at other places, so that scores differ as they do between two overlaps.
            Without it a window that does run is one of the whole volume's, and scores inside the
            region are those without a region.
        coarse: None, or by how much larger the voxels of a first pass are, such as 2 or 3: the same
            network, on the coarser volume, says where windows run; they are laid over the box
            around it, and elsewhere is background. Where it sees nothing all windows run. What is
            small or unlike at that resolution may be lost.
        engine: what computes the network on windows: "torch"; "compile", torch.compile, which pays
            off for many volumes; "openvino" or "onnxruntime", on CPUs; "auto": the fastest of those
            that are installed, see AutoEngine; "int8", on CPUs, of a bundle that was quantised.
        int8: folder of the bundle's network in INT8.
        as_nnunet: lay the windows as nnU-Net does: evenly spread, weighted by its Gaussian, and
            what a volume smaller than a window is padded with is 0.
        padding: of a volume smaller than a window: a number, or "replicate", its border; None: what
            padding_mode and cval say, or its lowest value.
        mode, sigma_scale, sw_device, device, ...: as SlidingWindowInferer's; mode is "gaussian" by
            default.

    Raises:
        ConfigError: an overlap or axis out of range; mirroring would call a left label a right one;
            another mode or padding.
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
        side_pairs: Sequence[Sequence[int]] | None = None,
        orientation: str | None = "RAS",
        labels: Sequence[str] = (),
        regions: bool = False,
        thresholds: Sequence[float] | None = None,
        fit_region: bool = False,
        coarse: float | None = None,
        engine: str = TORCH,
        int8: str | Path | None = None,
        as_nnunet: bool = False,
        padding: Padding = None,
        **options: Any,
    ) -> None:
        overlaps = _overlaps(overlap, roi_size)
        _check_axes(roi_size, mirror_axes, coarse)
        for name in ("roi_weight_map", "process_fn", "with_coord"):
            if options.get(name):
                raise ConfigError(
                    f"{name}: only MONAI's SlidingWindowInferer has it; use that as the inferer"
                )
        self.padding = _padding(0.0 if as_nnunet and padding is None else padding, options)
        self.as_nnunet = as_nnunet
        check_blend(options.setdefault("mode", "gaussian"))
        super().__init__(
            tuple(roi_size), sw_batch_size=sw_batch_size or 1, overlap=overlaps, **options
        )
        self.chosen_batch_size = sw_batch_size
        self.overlaps = overlaps
        if 0 in overlaps and any(overlaps):
            scales = ensure_tuple_rep(self.sigma_scale, len(roi_size))
            self.sigma_scale = [
                math.inf if share == 0 else s for share, s in zip(overlaps, scales, strict=True)
            ]
        self.mirror_axes = tuple(mirror_axes)
        self.amp = amp
        self.probabilities = probabilities
        self.sides = Sides.of(side_pairs, labels=labels, orientation=orientation, regions=regions)
        refuse_lost_sides(labels, self.sides, mirror_axes)
        self.regions = regions
        self.thresholds = thresholds
        self.fit_region = fit_region
        self.coarse = coarse
        self.engine = WindowEngine(engine, int8)

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
            region: (B, 1, *spatial) or (*spatial), see `slabs`; None: the inputs' meta["region"]
                where preprocessing has left one, see transforms.region.RegionInMetad.
            args, kwargs: handed to the network.
        """
        # plain tensors: MetaTensor copies its metadata at each of the hundreds of operations
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        told = region is not None
        region = region if told else _region_in_meta(inputs)
        result: torch.Tensor | None = None
        try:
            for index, image in enumerate(plain):
                part = region if region is None or region.ndim < plain.ndim else region[index, 0]
                slabs = self.slabs(image, network, *args, region=part, **kwargs)
                for slab in slabs:
                    if result is None:
                        size = (len(plain), slab.scores.shape[-1], *plain.shape[2:])
                        result = torch.empty(
                            size, dtype=torch.float32, device=self.device or slab.scores.device
                        )
                    rows = result[index].movedim(1 + slabs.axis, 0)[
                        slab.start : slab.start + len(slab.scores)
                    ]
                    rows.copy_(slab.scores.movedim(-1, 1))
        except OtherOutputError:
            if self.mirror_axes or told:
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
        accumulate_on: str | torch.device | None = None,
        **kwargs: Any,
    ) -> ScoreSlabs:
        """The scores of one image, computed as they are asked for.

        Its `facts` are complete once all were read.

        Args:
            image: (C_in, *spatial), on the device to compute on unless `sw_device` was given.
            network: see WindowForward.
            region: (*spatial) bool; windows that hold none of it are not run, and what no window
                covers gets the background's score. None runs all.
            progress: called with (windows run, windows to run) after each batch; what it raises
                ends the run.
            accumulate_on: device to accumulate on; None: `device`, or else where there is room.

        Raises:
            torch.OutOfMemoryError: not even one window fits into the device's memory.
            OtherOutputError: the network gives something else than one tensor of the windows' size.
        """
        image = image.as_tensor() if hasattr(image, "as_tensor") else image
        device = torch.device(self.sw_device) if self.sw_device is not None else image.device
        # mirroring looks at labels of windows, a coarse pass at the network's own scores
        plain = not (args or kwargs or self.mirror_axes or self.coarse is not None)
        kind = self._kind(len(image), self._dtype(network, device), device)
        engine, last_layer, faster = self.engine.of(network, kind, may_split=plain)
        if self.coarse is not None:
            region = self._within_coarse(image, engine, region)
        grid, starts, count = self._layout(image.shape[1:], region)
        forward = self._forward(engine, kind, args, kwargs)
        accumulate_on = self.device if accumulate_on is None else accumulate_on
        facts = self.engine.facts = ForwardFacts(
            windows=count, windows_skipped=count - len(starts), engine=engine.in_words
        )
        run = WindowRun(
            grid,
            starts,
            forward,
            image,
            padding=self.padding,
            importance=self._importance(grid, device),
            device=device,
            accumulate_on=None if accumulate_on is None else torch.device(accumulate_on),
            adapts=self.chosen_batch_size is None,
            normalise=self.probabilities,
            regions=self.regions,
            progress=progress,
            facts=facts,
            last_layer=last_layer,
            faster=None if args or kwargs else faster,
        )
        return ScoreSlabs(grid.shape, grid.axis, run.rows, run.probabilities, facts)

    def check_engine(self, network: Callable[..., Any], device: torch.device) -> str:
        """See WindowEngine.check."""
        return self.engine.check(network, self._kind(1, self._dtype(network, device), device))

    def example_windows(
        self, image: torch.Tensor, count: int, *, region: torch.Tensor | None, seed: int
    ) -> list[torch.Tensor]:
        """Some of the windows (C_in, *roi_size) that the network sees of an image, by chance.

        Args:
            image: (C_in, *spatial), as preprocessing leaves it.
            count: how many; all where it has fewer.
            region: see `slabs`.
        """
        image = image.as_tensor() if hasattr(image, "as_tensor") else image
        grid, starts, _ = self._layout(image.shape[1:], region)
        starts = starts or grid.starts
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(starts), generator=generator)[:count].tolist()
        padded = pad(grid, image, self.padding)
        return [grid.window(padded, starts[index]).contiguous() for index in chosen]

    def _importance(self, grid: WindowGrid, device: torch.device) -> Any:
        mode = str(getattr(self.mode, "value", self.mode))
        return grid.importance(mode=mode, sigma_scale=self.sigma_scale, device=device)

    def _layout(
        self, shape: Sequence[int], region: torch.Tensor | None
    ) -> tuple[WindowGrid, Sequence[tuple[int, ...]], int]:
        """The grid, the windows of it that run, and of how many over the whole volume."""
        roi_size = cast(Sequence[int], self.roi_size)
        make = partial(WindowGrid, shape, roi_size, self.overlaps, as_nnunet=self.as_nnunet)
        grid = make()
        if region is None:
            return grid, grid.starts, len(grid.starts)
        region = region.to(torch.bool)
        starts, count = grid.touching(region), len(grid.starts)
        if (self.fit_region or self.coarse is not None) and bool(region.any()):
            fitted = make(box=bounding_box(region.cpu().numpy()))
            fewer = fitted.touching(region)
            # moving windows changes labels along borders; for nothing it is not done
            if len(fewer) < len(starts):
                return fitted, fewer, count
        return grid, starts, count

    def _forward(
        self, engine: Engine, kind: WindowKind, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> WindowForward:
        return WindowForward(
            engine.forward,
            dtype=kind.dtype,
            mirror_axes=self.mirror_axes,
            sides=self.sides,
            regions=self.regions,
            thresholds=self.thresholds,
            batch_size=kind.batch_size,
            least=kind.least_batch,
            arguments=args,
            options=kwargs,
        )

    def _dtype(self, network: Callable[..., Any], device: torch.device) -> torch.dtype | None:
        exact = is_float32_only(network) or self.engine.name == INT8
        return None if exact else autocast_dtype(device, self.amp)

    def _kind(self, channels: int, dtype: torch.dtype | None, device: torch.device) -> WindowKind:
        shape = (channels, *cast(Sequence[int], self.roi_size))
        return WindowKind(shape, dtype, device, torch.get_num_threads(), self.chosen_batch_size)

    def _within_coarse(
        self, image: torch.Tensor, engine: Engine, region: torch.Tensor | None
    ) -> torch.Tensor | None:
        """The region, less where a coarse pass sees nothing."""
        assert self.coarse is not None
        first = SlidingWindow(
            cast(Sequence[int], self.roi_size),
            overlap=OVERLAP,
            sw_batch_size=self.chosen_batch_size,
            amp=self.amp,
            regions=self.regions,
            sw_device=self.sw_device,
        )
        small = coarser(image, self.coarse)
        inside = None if region is None else coarser(region[None], self.coarse)[0] > 0
        slabs = first.slabs(small, engine.forward, region=inside)
        found = found_region(
            slabs, image.shape[1:], regions=self.regions, thresholds=self.thresholds
        )
        if region is None or found is None:
            return region if found is None else found
        return found & region.to("cpu", torch.bool)


def _overlaps(overlap: float | Sequence[float], roi_size: Sequence[int]) -> list[float]:
    overlaps = [overlap] * len(roi_size) if isinstance(overlap, int | float) else list(overlap)
    if len(overlaps) != len(roi_size) or not all(0 <= share < 1 for share in overlaps):
        raise ConfigError(f"overlap {overlap} is not in 0 to below 1")
    return overlaps


def _check_axes(roi_size: Sequence[int], mirror_axes: Sequence[int], coarse: float | None) -> None:
    if any(axis not in range(len(roi_size)) for axis in mirror_axes):
        raise ConfigError(
            f"mirror_axes {list(mirror_axes)} are not all axes of a {len(roi_size)}D window"
        )
    if coarse is not None and not (coarse > 1 and len(roi_size) == 3):
        raise ConfigError(f"coarse {coarse}: a number above 1 is wanted, such as 2, and 3D windows")


def _region_in_meta(inputs: torch.Tensor) -> torch.Tensor | None:
    """(B, 1, *spatial) or (*spatial); None where the meta has none, or one of another grid."""
    meta = getattr(inputs, "meta", None)
    region = meta.get("region") if isinstance(meta, dict) else None
    if not isinstance(region, torch.Tensor):
        return None
    batch, spatial = inputs.shape[0], inputs.shape[2:]
    count = region.numel() // spatial.numel()
    if region.shape[-len(spatial) :] != spatial or count not in (1, batch):
        return None  # the image was moved since: all windows run
    return region.reshape(spatial) if count == 1 else region.reshape(batch, 1, *spatial)


def _padding(given: Any, options: Mapping[str, Any]) -> Padding:
    """What lies around a small volume, of its own setting or of MONAI's."""
    mode = options.get("padding_mode", "constant")
    mode = str(getattr(mode, "value", mode))
    if given is None:
        given = options.get("cval") if mode == "constant" else mode
    return checked_padding(given)
