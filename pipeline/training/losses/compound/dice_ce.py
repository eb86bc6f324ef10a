"""Dice plus cross-entropy, as UNETR and nnU-Net train."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.losses import DiceCELoss

from ..checks import check_class_weights, check_factors, check_smoothing
from ..wrapping.batch_sums import BatchSums
from ..wrapping.segmentation_loss import SegmentationLoss


def dice_ce(
    *,
    squared: bool = True,
    include_background: bool = True,
    batch: bool = False,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    smooth: float = 1e-5,
    sigmoid: bool = False,
) -> SegmentationLoss:
    """Soft Dice (squared terms, all classes) plus cross-entropy, as UNETR's paper has it.

    MONAI's DiceCELoss. With sigmoid, for one output channel, the second term is binary
    cross-entropy. Paper: Hatamizadeh et al. 2021
    (arXiv 2103.10504), equation 3.

    Args:
        squared: squares in Dice's denominator; False for the plain sums of most other papers.
        include_background: whether Dice counts the background (cross-entropy always does).
        batch: Dice's sums over all cases of the batch at once.
        dice_weight, ce_weight: factors of the two terms, 0 or more.
        class_weights: one factor per class, background first, for both terms. Cross-entropy then is
            a weighted mean over voxels.
        label_smoothing: 0..1, of the cross-entropy's target only; not with sigmoid.
        smooth: added to numerator and denominator of Dice.
    """
    check_class_weights(class_weights, sigmoid)
    check_smoothing(label_smoothing, sigmoid)
    check_factors(dice_weight, ce_weight)
    options: dict[str, Any] = dict(
        squared=squared,
        include_background=include_background,
        batch=batch,
        dice_weight=dice_weight,
        ce_weight=ce_weight,
        label_smoothing=label_smoothing,
        smooth=smooth,
    )
    form = BatchSums(class_weights=class_weights, sigmoid=sigmoid, **options)
    shared = batch or class_weights is not None  # no mean over windows
    return SegmentationLoss(
        _of_monai(form),
        sigmoid=sigmoid,
        class_weights=class_weights,
        remake=partial(dice_ce, **options),
        whole_batch=batch,
        sums=form if shared else None,
    )


def _of_monai(form: BatchSums) -> DiceCELoss:
    """MONAI's loss of the same options.

    It leaves the weight out of the Dice of a single channel (MONAI 1.6), so that is given as the
    factor of the term.
    """
    weights = form.class_weights
    alone = weights is not None and len(weights) == 2 and not form.include_background
    factor = weights[1] if weights is not None and alone else 1.0
    return DiceCELoss(
        # The single channel of a sigmoid network is the foreground already.
        include_background=form.include_background or form.sigmoid,
        to_onehot_y=not form.sigmoid,
        softmax=not form.sigmoid,
        sigmoid=form.sigmoid,
        squared_pred=form.squared,
        batch=form.batch,
        smooth_nr=form.smooth,
        smooth_dr=form.smooth,
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float32),
        lambda_dice=form.dice_weight * factor,
        lambda_ce=form.ce_weight,
        label_smoothing=form.label_smoothing,
    )


def dice_ce_nnunet(
    *,
    batch: bool = True,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    sigmoid: bool = False,
) -> SegmentationLoss:
    """Soft Dice of the foreground over the whole batch, plus cross-entropy, as nnU-Net trains.

    nnU-Net's own number is smaller by 1, as it adds minus Dice. Paper: Isensee et al. 2021,
    nnU-Net. Arguments are those of dice_ce.
    """
    return dice_ce(
        squared=False,
        include_background=False,
        batch=batch,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        sigmoid=sigmoid,
    )
