"""A loss of logits and a label map, checked and computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .....data.errors import ConfigError
from .annotation import Annotation, annotated_groups, merged
from .batch_sums import BatchSums
from .processes import added_up
from .tensors import plain, single


class SegmentationLoss(nn.Module):
    """A MONAI loss of logits and labels, made safe for mixed precision.

    forward(logits (B, C, ...), labels (B, 1, ...) of whole numbers 0..C-1, any dtype) -> scalar
    tensor. With sigmoid, C is 1 and the labels are 0 or 1. Half precision logits are cast to
    float32 and autocast is off inside: sums over millions of voxels overflow float16. Meta of
    MetaTensors is dropped, class weights move to the logits' device.

    With an Annotation, labels that a window does not have annotated are counted together with its
    background: their probabilities are added, and they have no term of their own. Voxels whose
    label is negative are left out. Windows with the same annotated labels are computed together,
    and the loss is the mean over the windows that have an annotated label. Paper: Shi et al. 2021,
    Marginal loss and exclusion loss for partially supervised multi-organ segmentation
    (arXiv 2007.03868).

    Where `of_processes` is set (see `join_processes`) it is the loss of the windows of all
    processes together, and each has to call it.

    Args:
        loss: of (logits, labels).
        sigmoid: the network has one channel.
        class_weights: those that `loss` has, one per channel.
        remake: makes the same loss of other `class_weights`; needed where it has some.
        whole_batch: `loss` takes sums over the whole batch, not per window.
        sums: those of `loss`, where it is no mean over windows: what processes add up.
        masked: `loss` takes (logits, labels, valid), as it looks at a voxel's neighbours; of others
            the voxels that count are cut out.

    Raises (forward):
        ConfigError: one channel of logits without sigmoid, several with it, labels of another
            shape, or with values above 1 with sigmoid, or class weights that are not as many as the
            channels.
    """

    def __init__(
        self,
        loss: nn.Module,
        *,
        sigmoid: bool,
        class_weights: Sequence[float] | None = None,
        remake: Callable[..., SegmentationLoss] | None = None,
        whole_batch: bool = False,
        sums: BatchSums | None = None,
        masked: bool = False,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.sigmoid = sigmoid
        self.class_weights = None if class_weights is None else list(class_weights)
        self.whole_batch = whole_batch
        self.masked = masked
        self.of_processes = False
        self._sums = sums
        self._remake = remake
        self._reduced: dict[tuple[int, ...], SegmentationLoss] = {}

    def forward(
        self, logits: Tensor, labels: Tensor, annotation: Annotation | None = None
    ) -> Tensor:
        """The loss, averaged over the batch; see the class.

        Args:
            annotation: None where all labels of all windows are annotated, and no voxel ignored.
        """
        self._check(logits, labels)
        logits, labels = plain(logits), plain(labels)
        if self.class_weights is not None:
            self.loss.to(logits.device)
        with torch.autocast(device_type=logits.device.type, enabled=False):
            logits = single(logits)
            if annotation is not None:
                return self._of_annotated(logits, labels, annotation)
            if self.of_processes:
                return self.of_sums(added_up(self.summed(logits, labels)))
            return self.of(logits, labels)

    def of(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of windows that are wholly annotated, unchecked and in their own precision."""
        return self.loss(logits, self._target(logits, labels))

    def of_valid(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        """The loss of the voxels whose label is not negative, and of how many windows it is.

        A window without such voxels does not count.
        """
        logits, labels, valid = _with_valid(logits, labels)
        count = len(logits)
        if not count or bool(valid.all()):
            return (self.of(logits, labels) if count else logits.sum()), count
        if self.masked:
            return self.loss(logits, labels.clamp(min=0), valid), count
        if self._sums is not None:
            return self.of_sums(self.summed(logits, labels, ignores=True)), count
        terms = [self.of(*part) for part in self._parts(logits, labels, valid)]
        return torch.stack(terms).mean(), count

    def summed(self, logits: Tensor, labels: Tensor, *, ignores: bool = False) -> Tensor:
        """The sums (n,) of some windows, or none, that processes add up; the last is how many.

        Args:
            ignores: negative labels may be among them.
        """
        count = len(logits)
        if self._sums is None:
            value = logits.sum()  # 0 of none
            if count and ignores:
                value, count = self.of_valid(logits, labels)
            elif count:
                value = self.of(logits, labels)
            return torch.stack([value * count, value.new_tensor(count)])
        parts = [(logits, labels)]
        if ignores and count:
            logits, labels, valid = _with_valid(logits, labels)
            count = len(logits)
            parts = self._parts(logits, labels, valid) if count else [(logits, labels)]
        sums = [self._sums.sums(part, self._target(part, labels)) for part, labels in parts]
        total = torch.stack(sums).sum(0)
        return torch.cat([total, total.new_tensor([count])])

    def of_sums(self, sums: Tensor) -> Tensor:
        """The loss of what `summed` gave, perhaps added up."""
        if self._sums is None:
            return sums[0] / sums[-1].clamp(min=1)
        return self._sums.loss(sums[:-1], sums[-1])

    def _target(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The labels as the loss takes them."""
        if not self.sigmoid:
            return labels
        if labels.numel() and labels.max() > 1:
            raise ConfigError(
                f"a label map holds {int(labels.max())}, but a network of one output "
                "channel knows 0 and 1 alone: give it one channel per label, or merge "
                "labels by --merge_labels"
            )
        return labels.to(logits.dtype)

    def _parts(self, logits: Tensor, labels: Tensor, valid: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The voxels that count, of all windows at once or of each, as the loss sums them."""
        step = len(logits) if self.whole_batch else 1
        rows = zip(logits.split(step), labels.split(step), valid.split(step), strict=True)
        return [_cut_out(*row) for row in rows]

    def _of_annotated(self, logits: Tensor, labels: Tensor, annotation: Annotation) -> Tensor:
        total, windows = logits[:0].sum(), logits.new_zeros(())
        foreground = 2 if self.sigmoid else logits.shape[1]
        for channels, rows in annotated_groups(annotation, foreground):
            part, target, loss = logits[rows], labels[rows], self
            if len(channels) < foreground - 1:
                part, target = merged(part, target, channels)
                loss = self._of_channels(channels, logits.device)
            ignores = bool(annotation.ignores[rows].any())
            count: Tensor | int = len(rows)
            if self.of_processes:
                sums = added_up(loss.summed(part, target, ignores=ignores))
                term, count = loss.of_sums(sums), sums[-1]
            elif ignores:
                term, count = loss.of_valid(part, target)
            else:
                term = loss.of(part, target)
            total, windows = total + term * count, windows + count
        return total / windows.clamp(min=1)

    def _of_channels(self, channels: tuple[int, ...], device: torch.device) -> SegmentationLoss:
        """This loss for the background and some of the channels."""
        if self.class_weights is None:
            return self
        if channels not in self._reduced:
            assert self._remake is not None, "class weights, and no way to choose some of them"
            weights = [self.class_weights[channel] for channel in (0, *channels)]
            self._reduced[channels] = self._remake(class_weights=weights).to(device)
        return self._reduced[channels]

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        """MONAI only warns here, and then trains something else than what was asked for."""
        channels = logits.shape[1]
        if (channels == 1) != self.sigmoid:
            raise ConfigError(
                f"the network has {channels} output channel(s), but the loss has "
                f"sigmoid={self.sigmoid}: use "
                "sigmoid=True for exactly one output channel, and sigmoid=False for background and "
                "labels"
            )
        if self.class_weights is not None and len(self.class_weights) != channels:
            raise ConfigError(
                f"{len(self.class_weights)} class_weights for {channels} output channels, "
                "background included"
            )
        if labels.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ConfigError(
                f"logits of shape {tuple(logits.shape)} need labels of shape "
                f"{(logits.shape[0], 1, *logits.shape[2:])}, not {tuple(labels.shape)}"
            )


def _with_valid(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The windows with voxels that count, and which do: logits, labels, valid."""
    valid = labels >= 0
    there = valid.flatten(1).any(1)
    return logits[there], labels[there], valid[there]


def _cut_out(logits: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The voxels that count, as one window of a single axis: (1, C, n) and (1, 1, n)."""
    chosen = valid[:, 0]
    return logits.movedim(1, 0)[:, chosen][None], labels.movedim(1, 0)[:, chosen][None]
