"""A loss of regions, which overlap: each is a label of its own, with a sigmoid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .....data.errors import ConfigError
from .annotation import Annotation, annotated_groups
from .processes import added_up
from .segmentation_loss import SegmentationLoss
from .tensors import plain, single


class RegionLoss(nn.Module):
    """The mean over regions of a loss of one channel.

    forward(logits (B, R, ...), labels (B, 1, ...)) -> scalar tensor. Labels are the bits of the
    regions that hold a voxel, bit 0 for the first; voxels that are negative do not count. A region
    that a window does not have annotated has no term there. With `of_processes` it is of the
    windows of all processes, as SegmentationLoss is.

    Args:
        loss: with sigmoid.

    Raises (forward):
        ConfigError: labels of another shape, or with bits of regions that there are not.
    """

    def __init__(self, loss: SegmentationLoss) -> None:
        super().__init__()
        self.loss = loss
        self.of_processes = False

    def forward(
        self, logits: Tensor, labels: Tensor, annotation: Annotation | None = None
    ) -> Tensor:
        """The loss, averaged over regions and the batch; see the class.

        Args:
            annotation: None where all regions of all windows are annotated, and no voxel ignored.
        """
        if labels.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ConfigError(
                f"logits of shape {tuple(logits.shape)} need labels of shape "
                f"{(logits.shape[0], 1, *logits.shape[2:])}, not {tuple(labels.shape)}"
            )
        logits, labels = plain(logits), plain(labels).int()
        with torch.autocast(device_type=logits.device.type, enabled=False):
            logits = single(logits)
            if annotation is not None:
                return self._of_annotated(logits, labels, annotation)
            regions = [
                (logits[:, r : r + 1], _bit(labels, r).to(logits.dtype))
                for r in range(logits.shape[1])
            ]
            if self.of_processes:
                return self._of_processes(regions)[0]
            return torch.stack([self.loss.loss(*region) for region in regions]).mean()

    def _of_processes(self, regions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The mean over regions, and of how many windows it is in all processes."""
        sums = added_up(torch.stack([self.loss.summed(*one, ignores=True) for one in regions]))
        return torch.stack([self.loss.of_sums(one) for one in sums]).mean(), sums[0, -1]

    def _of_annotated(self, logits: Tensor, labels: Tensor, annotation: Annotation) -> Tensor:
        total, windows = logits[:0].sum(), logits.new_zeros(())
        for channels, rows in annotated_groups(annotation, logits.shape[1] + 1):
            part, target = logits[rows], labels[rows]
            regions = [
                (part[:, c - 1 : c], torch.where(target < 0, -1, _bit(target, c - 1)))
                for c in channels
            ]
            count: Tensor | int
            if self.of_processes:
                term, count = self._of_processes(regions)
            else:
                found = [self.loss.of_valid(*region) for region in regions]
                count = found[0][1]  # of the windows; the same for each region
                term = torch.stack([one for one, _ in found]).mean()
            total, windows = total + term * count, windows + count
        return total / windows.clamp(min=1)


def _bit(labels: Tensor, number: int) -> Tensor:
    return (labels >> number) & 1
