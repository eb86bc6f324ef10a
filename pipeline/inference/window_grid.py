"""Where the windows of a volume lie, in which order they run, and which of them may be left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch.nn import functional

from .nnunet_windows import even_starts, gaussian

Start = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """The windows that begin at one row of the slabs' axis.

    Args:
        row: that row, of the padded volume.
        finished: so many rows from `row` on are touched by no later window.
        starts: first voxel of each window, of the padded volume.
    """

    row: int
    finished: int
    starts: tuple[Start, ...]


class WindowGrid:
    """The windows of MONAI's sliding_window_inference, in order along the volume's longest axis.

    A volume smaller than a window is padded on both sides, as there.

    Args:
        shape: spatial sizes of the volume.
        roi_size: of a window; an axis of 0 or less takes the volume's size, as in MONAI.
        overlap: share of a window that its neighbour covers again, one number per axis.
        box: lay the windows over this part of the volume, as over a volume of its size; None: over
            all of it. Where a window is larger than the box it holds what lies beside it.
        as_nnunet: spread them evenly, and weight them by nnU-Net's Gaussian.
    """

    def __init__(
        self,
        shape: Sequence[int],
        roi_size: Sequence[int],
        overlap: Sequence[float],
        *,
        box: Sequence[slice] | None = None,
        as_nnunet: bool = False,
    ) -> None:
        self.as_nnunet = as_nnunet
        self.shape = tuple(int(size) for size in shape)
        self.roi_size = tuple(
            int(r) if r > 0 else n for r, n in zip(roi_size, self.shape, strict=True)
        )
        short = [max(r - n, 0) for r, n in zip(self.roi_size, self.shape, strict=True)]
        self.before = tuple(amount // 2 for amount in short)
        self.padded = tuple(n + amount for n, amount in zip(self.shape, short, strict=True))
        first, covered = self._covered(box)
        if as_nnunet:
            found = even_starts(covered, self.roi_size, overlap)
        else:
            found = _starts(covered, self.roi_size, overlap)
        self.axis = max(range(len(self.padded)), key=self.padded.__getitem__)
        starts = {tuple(low + one for low, one in zip(first, at, strict=True)) for at in found}
        self.starts: list[Start] = sorted(starts, key=lambda start: (start[self.axis], start))

    def _covered(self, box: Sequence[slice] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """First voxel and size of what the windows are laid over, in the padded volume."""
        if box is None:
            return (0,) * len(self.padded), self.padded
        first, covered = [], []
        for part, roi, padded, before in zip(
            box, self.roi_size, self.padded, self.before, strict=True
        ):
            size = max(part.stop - part.start, roi)
            centred = part.start + before - (size - (part.stop - part.start)) // 2
            first.append(min(max(centred, 0), padded - size))
            covered.append(size)
        return tuple(first), tuple(covered)

    def pad(self, image: torch.Tensor, value: float | None) -> torch.Tensor:
        """The image (C, *shape) at the padded size; the same tensor where nothing is padded.

        Args:
            value: outside; None: the border's.
        """
        after = [p - n - b for p, n, b in zip(self.padded, self.shape, self.before, strict=True)]
        if not any(self.before) and not any(after):
            return image
        amounts = [
            amount
            for pair in reversed(list(zip(self.before, after, strict=True)))
            for amount in pair
        ]
        if value is None:
            return functional.pad(image[None], amounts, mode="replicate")[0]
        return functional.pad(image, amounts, value=value)

    def importance(
        self, *, mode: str, sigma_scale: float | Sequence[float], device: torch.device
    ) -> torch.Tensor:
        """Weight of each voxel of a window (*roi_size) float32, highest 1.

        Args:
            mode, sigma_scale: MONAI's; "gaussian" as nnU-Net's has a scale of its own.
        """
        if self.as_nnunet and mode == "gaussian":
            return gaussian(self.roi_size, device)
        weights = compute_importance_map(
            self.roi_size, mode=mode, sigma_scale=sigma_scale, device=device
        )
        return weights.float()

    def window(self, image: torch.Tensor, start: Start) -> torch.Tensor:
        """The part (C, *roi_size) of a padded image."""
        return image[
            (slice(None), *(slice(s, s + r) for s, r in zip(start, self.roi_size, strict=True)))
        ]

    def touching(self, region: torch.Tensor) -> list[Start]:
        """The windows that hold a voxel of a region (*shape, bool)."""
        kept = []
        for start in self.starts:
            box = tuple(
                slice(max(s - b, 0), max(s - b + r, 0))
                for s, b, r in zip(start, self.before, self.roi_size, strict=True)
            )
            if bool(region[box].any()):
                kept.append(start)
        return kept

    def layers(self, starts: Sequence[Start]) -> Iterator[Layer]:
        """The given windows in order; with layers without any, as their rows are finished too."""
        depth, size = self.roi_size[self.axis], self.padded[self.axis]
        rows = sorted({start[self.axis] for start in self.starts})
        # rows from here on no window touches; a layer is never deeper than a window
        last = rows[-1] + depth
        rows = [*range(0, rows[0], depth), *rows, *range(last, size, depth)]
        for row, end in zip(rows, [*rows[1:], size], strict=True):
            yield Layer(row, end - row, tuple(start for start in starts if start[self.axis] == row))


def _starts(shape: Sequence[int], roi_size: Sequence[int], overlap: Sequence[float]) -> list[Start]:
    """First voxel of each window over a volume, as MONAI lays them."""
    interval = [
        r if r == n else max(1, int(r * (1 - o)))
        for r, n, o in zip(roi_size, shape, overlap, strict=True)
    ]
    slices = dense_patch_slices(shape, roi_size, interval)
    return [tuple(part.start for part in window) for window in slices]
