"""Dice and cross-entropy of a batch from their sums, which several processes can add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class BatchSums:
    """What MONAI's DiceCELoss takes of a batch, in two halves: its sums, and their loss.

    For losses that are no mean over windows: whose Dice is of the whole batch, or whose
    cross-entropy is a weighted mean over all its voxels. Arguments are those of `presets.dice_ce`.

    Example:
        >>> both = BatchSums(batch=True)
        >>> logits = torch.tensor([[[0.0], [20.0]]])
        >>> labels = torch.ones(1, 1, 1)
        >>> round(float(both.loss(both.sums(logits, labels), torch.tensor(1.0))), 6)
        0.0
    """

    squared: bool = True
    include_background: bool = True
    batch: bool = False
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    class_weights: Sequence[float] | None = None
    label_smoothing: float = 0.0
    smooth: float = 1e-5
    sigmoid: bool = False

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sums (n,) of some windows; those of more windows are the sums of their sums.

        Args:
            logits: (B, C, ...), B 0 or more.
            labels: (B, 1, ...), whole numbers.
        """
        if self.sigmoid:
            chances, truth = logits.sigmoid(), labels.to(logits.dtype)
        else:
            chances = logits.softmax(1)
            truth = functional.one_hot(labels[:, 0].long(), logits.shape[1])
            truth = truth.movedim(-1, 1).to(logits.dtype)
        if not (self.include_background or self.sigmoid):
            chances, truth = chances[:, 1:], truth[:, 1:]
        both = (chances * truth).flatten(2).sum(2)
        whole = (chances**2 if self.squared else chances).flatten(2).sum(2) + truth.flatten(2).sum(
            2
        )
        if self.batch:
            dice = torch.cat([both.sum(0), whole.sum(0)])
        else:
            dice = self._dice(both, whole).sum().reshape(1)
        return torch.cat([dice, self._entropy(logits, labels)])

    def loss(self, sums: Tensor, windows: Tensor) -> Tensor:
        """The loss of sums.

        Args:
            sums: as `sums` gives them, perhaps added up.
            windows: of how many they are, a scalar.
        """
        dice, (entropy, weight) = sums[:-2], sums[-2:]
        dice = self._dice(*dice.chunk(2)) if self.batch else dice[0] / windows.clamp(min=1)
        return self.dice_weight * dice + self.ce_weight * entropy / weight.clamp(min=1e-12)

    def _dice(self, both: Tensor, whole: Tensor) -> Tensor:
        """1 - Dice of sums (..., channels), the mean over the channels."""
        terms = 1 - (2 * both + self.smooth) / (whole + self.smooth)
        if self.class_weights is not None:
            weights = terms.new_tensor(self.class_weights)
            terms = terms * (weights if self.include_background else weights[1:])
        return terms.mean(-1)

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum of the cross-entropy, and what its mean divides by."""
        if self.sigmoid:
            entropy = functional.binary_cross_entropy_with_logits(
                logits, labels.to(logits.dtype), reduction="sum"
            )
            return torch.stack([entropy, entropy.new_tensor(labels.numel())])
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        wanted = labels[:, 0].long()
        entropy = functional.cross_entropy(
            logits, wanted, weights, reduction="sum", label_smoothing=self.label_smoothing
        )
        total = entropy.new_tensor(wanted.numel()) if weights is None else weights[wanted].sum()
        return torch.stack([entropy, total])
