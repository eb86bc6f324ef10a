"""Attention U-Net's published loss: Dice with squared terms, of windows or of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from monai.losses import DiceLoss

from ..checks import check_class_weights
from ..wrapping.batch_sums import BatchSums
from ..wrapping.segmentation_loss import SegmentationLoss


class SorensenDiceLoss(SegmentationLoss):
    """Soft Dice over all classes, background included, with squared terms in the denominator.

    Mean over batch and classes of `1 - (2 sum(p y) + smooth) / (sum(p^2) + sum(y^2) + smooth)`; p
    is the softmax (or sigmoid) of the logits, sums are over one case's voxels. Range 0..1. MONAI's
    DiceLoss(squared_pred=True). Paper: Oktay et al. 2018, Attention U-Net (arXiv 1804.03999), after
    Milletari et al. 2016, V-Net.

    Args:
        class_weights: factor on each class's term, background first; the mean is still over the
            number of classes.
        batch: sums over all cases of the batch at once, instead of one Dice per case.
        smooth: keeps a class that is in neither p nor y from being 0/0.
        sigmoid: for networks of one output channel.
    """

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        batch: bool = False,
        smooth: float = 1e-5,
        sigmoid: bool = False,
    ) -> None:
        check_class_weights(class_weights, sigmoid)
        loss = DiceLoss(
            include_background=True,
            to_onehot_y=not sigmoid,
            softmax=not sigmoid,
            sigmoid=sigmoid,
            squared_pred=True,
            batch=batch,
            smooth_nr=smooth,
            smooth_dr=smooth,
            weight=class_weights,
        )
        super().__init__(
            loss,
            sigmoid=sigmoid,
            class_weights=class_weights,
            remake=partial(SorensenDiceLoss, batch=batch, smooth=smooth),
            whole_batch=batch,
            sums=BatchSums(
                batch=True,
                ce_weight=0.0,
                class_weights=class_weights,
                smooth=smooth,
                sigmoid=sigmoid,
            )
            if batch
            else None,
        )
