"""Sliding-window inference: MONAI's, with precision by device, mirroring, and no gradient kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations
from typing import Any, cast

import torch
from monai.inferers import SlidingWindowInferer

from ..data.errors import ConfigError
from .precision import Amp, autocast, autocast_dtype, channels_last


class SlidingWindow(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer (Gaussian blending) that runs each window in the device's best precision.

    Args:
        roi_size: window in voxels, one number an axis.
        overlap: share of a window that its neighbour covers again, 0 to below 1.
        sw_batch_size: windows a forward pass.
        mirror_axes: test-time augmentation: the logits' mean over all flips along these spatial axes; never name an
            axis across which left and right are different labels.
        amp: see `precision.autocast_dtype`.
        **options: others of SlidingWindowInferer.

    Raises:
        ConfigError: an overlap or axis out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        *,
        overlap: float = 0.5,
        sw_batch_size: int = 2,
        mirror_axes: Sequence[int] = (),
        amp: Amp = "auto",
        **options: Any,
    ) -> None:
        if not 0 <= overlap < 1:
            raise ConfigError(f"overlap {overlap} is not in 0 to below 1")
        if any(axis not in range(len(roi_size)) for axis in mirror_axes):
            raise ConfigError(f"mirror_axes {list(mirror_axes)} are not all axes of a {len(roi_size)}D window")
        options.setdefault("mode", "gaussian")
        super().__init__(tuple(roi_size), sw_batch_size=sw_batch_size, overlap=overlap, **options)
        self.amp = amp
        axes = sorted(set(mirror_axes))
        self.flips = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))

    def __call__(  # type: ignore[override]  # networks here give one tensor
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits (B, C, *spatial) float32 for an image (B, C_in, *spatial)."""
        dtype = autocast_dtype(inputs.device, self.amp)

        def forward(window: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
            total: torch.Tensor | None = None
            count = len(window)
            if count == 1 and window.device.type == "cpu":
                # PyTorch hands small batches of one not to oneDNN but to a loop that is many times slower
                window = window.expand(2, *window.shape[1:])
            for flip in self.flips:
                axes = tuple(2 + axis for axis in flip)
                with autocast(window.device, dtype):
                    logits = network(channels_last(window.flip(axes) if axes else window), *more, **named)
                logits = logits[:count].float().flip(axes) if axes else logits[:count].float()
                total = logits if total is None else total + logits
            assert total is not None
            return total / len(self.flips)

        with torch.no_grad():
            # plain tensors: MetaTensor copies its metadata at each of the hundreds of operations
            plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
            # volumes smaller than a window are padded as in training; 0 is the mean of a z-scored image
            self.cval = float(plain.amin())
            return cast(torch.Tensor, super().__call__(plain, forward, *args, **kwargs))
