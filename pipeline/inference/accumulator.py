"""The weighted mean of overlapping windows, kept for as many rows as one window is deep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from ...transforms.restore.slabs import Slab
from .last_layer import LastLayer

# Elements at a time, so that the temporary product stays in a CPU's cache.
_CHUNK = {"cpu": 2**19, "cuda": 2**26}
_EXACT_BYTES = 2**28  # sums that take no more than this are float32 whatever is handed on
_WIDE_BYTES = 2**26  # weights for each channel of a window take no more
_SLAB_BYTES = 16e6  # rows are handed on in slabs of about this size
_LEAST_WEIGHT = 1e-3  # in float16 sums: products of lower ones (nnU-Net's) would round to 0
BACKGROUND_LOGIT = 30.0
"""By how much the background leads where no window ran, in logits."""


class Accumulator:
    """Sums of weighted scores and of weights for the rows that are not finished yet.

    Scores are (rows, *other axes, C): the channels lie innermost, as the networks give them
    (channels_last) and as the way back to the scan's grid reads them.

    Args:
        rows: depth of a window along the slabs' axis.
        others: sizes of the padded volume's other axes.
        dtype: of the scores handed on: float32, or float16 where they come in 16 bits anyway. The
            sums are float16 then too where they would be large (many classes): half of the memory,
            for a few more voxels on borders.
        probabilities: what comes are probabilities, not logits.
        normalise: hand on the probabilities of mean logits: their softmax, or the sigmoid of one
            channel.
        regions: channels overlap; each has its sigmoid.
        last_layer: what comes are features, not scores; scores are handed on.
    """

    def __init__(
        self,
        rows: int,
        others: Sequence[int],
        channels: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        probabilities: bool = False,
        normalise: bool = False,
        regions: bool = False,
        last_layer: LastLayer | None = None,
    ) -> None:
        self.dtype = dtype
        self.regions = regions
        self.last_layer = last_layer
        self.classes = channels if last_layer is None else last_layer.classes
        self.sums = torch.zeros(
            rows, *others, channels, dtype=_sums_dtype(rows, others, channels, dtype), device=device
        )
        self.weights = torch.zeros(rows, *others, dtype=torch.float32, device=device)
        self._wide: tuple[torch.Tensor, torch.Tensor] | None = None
        self.probabilities = probabilities
        self.normalise = normalise and not probabilities

    @staticmethod
    def bytes_needed(rows: int, others: Sequence[int], channels: int, dtype: torch.dtype) -> int:
        """Memory of an accumulator with what it needs on the way, on a GPU."""
        voxels, kept = rows * math.prod(others), _sums_dtype(rows, others, channels, dtype)
        return voxels * (channels * kept.itemsize + 4) + 8 * _CHUNK["cuda"] + int(4 * _SLAB_BYTES)

    def to(self, device: torch.device) -> None:
        """Move to another device's memory."""
        self.sums, self.weights = self.sums.to(device), self.weights.to(device)

    def add(self, scores: torch.Tensor, importance: torch.Tensor, start: Sequence[int]) -> None:
        """Add a window that begins at the first row.

        Args:
            scores: (rows, *roi, C), any floating dtype, on this device.
            importance: (rows, *roi) float32.
            start: first voxel along the other axes.
        """
        box = (
            slice(None),
            *(slice(s, s + r) for s, r in zip(start, importance.shape[1:], strict=True)),
        )
        sums, weights = self.sums[box], self.weights[box]
        if sums.dtype is torch.float16:
            importance = importance.clamp(min=_LEAST_WEIGHT)
        weights += importance
        step = max(1, _CHUNK.get(scores.device.type, 2**19) // max(1, scores[0].numel()))
        factors = self._factors(importance, scores.shape[-1])
        for row in range(0, len(scores), step):
            part = slice(row, row + step)
            if sums.dtype is torch.float32:
                sums[part].addcmul_(scores[part].float(), factors[part])
            else:
                sums[part].add_((scores[part].float() * factors[part]).to(sums.dtype))

    def _factors(self, importance: torch.Tensor, channels: int) -> torch.Tensor:
        """The weights of a window's voxels, for each channel where that is small.

        On a CPU a product with one number per voxel and few channels goes channel by channel, and
        takes half as long again.
        """
        if importance.device.type != "cpu" or 4 * channels * importance.numel() > _WIDE_BYTES:
            return importance.unsqueeze(-1)
        if self._wide is None or self._wide[0] is not importance:
            wide = importance.unsqueeze(-1).expand(*importance.shape, channels).contiguous()
            self._wide = (importance, wide)
        return self._wide[1]

    def finish(self, rows: int, first: int, crop: Sequence[slice]) -> Iterator[Slab]:
        """Hand on the first rows, and make room for as many new ones.

        Args:
            rows: how many are finished.
            first: number of the first one in the slabs' volume.
            crop: what of the other axes is handed on; and crop[0] of these rows.
        """
        wanted = range(rows)[crop[0]]
        row_bytes = self.sums[0, ..., 0].numel() * self.classes * self.dtype.itemsize
        step = max(1, int(_SLAB_BYTES / max(1, row_bytes)))
        for row in range(wanted.start, wanted.stop, step):
            part = slice(row, min(row + step, wanted.stop))
            yield Slab(first + row - wanted.start, self._mean(part, crop[1:]))
        depth = len(self.sums)
        for row in range(depth - rows):  # row by row: source and target overlap
            self.sums[row].copy_(self.sums[row + rows])
            self.weights[row].copy_(self.weights[row + rows])
        self.sums[depth - rows :].zero_()
        self.weights[depth - rows :].zero_()

    def _mean(self, part: slice, crop: Sequence[slice]) -> torch.Tensor:
        weights = self.weights[(part, *crop)]
        unseen = weights == 0
        weights = weights.masked_fill(unseen, 1.0).unsqueeze(-1)
        # float16 divides in float32 and rounds once; both copies are as small as a slab
        means = self.sums[(part, *crop)] / weights
        if self.last_layer is not None:
            means = self.last_layer(means)
        means = means.to(self.dtype)
        if bool(unseen.any()):
            none = background(
                means.shape[-1], probabilities=self.probabilities, regions=self.regions
            )
            means[unseen] = none.to(means)
        if self.normalise:
            alone = means.shape[-1] == 1 or self.regions
            chances = means.float().sigmoid() if alone else means.float().softmax(-1)
            return chances.to(means.dtype)
        return means


def _sums_dtype(rows: int, others: Sequence[int], channels: int, dtype: torch.dtype) -> torch.dtype:
    exact = rows * math.prod(others) * channels * torch.float32.itemsize <= _EXACT_BYTES
    return torch.float32 if exact else dtype


def background(channels: int, *, probabilities: bool, regions: bool = False) -> torch.Tensor:
    """(C,) scores that say background; one channel is the foreground's, and so is each region's."""
    scores = torch.zeros(channels)
    has_own = channels > 1 and not regions
    if probabilities:
        scores[0] = float(has_own)
        return scores
    scores[(1 if has_own else 0) :] = -BACKGROUND_LOGIT
    return scores
