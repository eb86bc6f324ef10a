"""The training losses by name: MONAI's losses with the papers' settings. A new loss goes here."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceLoss
from torch import nn

from ....data.errors import ConfigError
from .batch_sums import BatchSums
from .deep_supervision_loss import deep_supervision
from .logits_loss import SegmentationLoss
from .region_loss import RegionLoss
from .structure_loss import StructureLoss


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
        _check_weights(class_weights, sigmoid)
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
    _check_weights(class_weights, sigmoid)
    _check_smoothing(label_smoothing, sigmoid)
    _check_factors(dice_weight, ce_weight)
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
    """MONAI's loss of the same options."""
    weights = form.class_weights
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
        lambda_dice=form.dice_weight,
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


def structure(
    *,
    kernel: int = 31,
    boundary: float = 5.0,
    class_weights: Sequence[float] | None = None,
    slices: bool = False,
    sigmoid: bool = False,
) -> SegmentationLoss:
    """Boundary-weighted cross-entropy plus IoU of the foreground, as TransFuse trains.

    Paper: Zhang et al. 2021 (arXiv 2102.08005). Arguments are those of
    structure.StructureLoss, which says what is ours in 3D and with several classes.
    """
    _check_weights(class_weights, sigmoid)
    options: dict[str, Any] = dict(kernel=kernel, boundary=boundary, slices=slices)
    return SegmentationLoss(
        StructureLoss(class_weights=class_weights, **options),
        sigmoid=sigmoid,
        class_weights=class_weights,
        remake=partial(structure, **options),
        masked=True,
    )


LOSSES: dict[str, Callable[..., SegmentationLoss]] = {
    "sorensen_dice": SorensenDiceLoss,
    "dice_ce": dice_ce,
    "dice_ce_nnunet": dice_ce_nnunet,
    "structure": structure,
    # of 2D networks that take volumes slice by slice
    "structure_2d": partial(structure, slices=True),
}
"""Name -> what makes the loss."""


def build_loss(
    name: str,
    *,
    regions: bool = False,
    deep_supervision_weights: Sequence[float] | str | None = None,
    **options: Any,
) -> nn.Module:
    """The loss of a name in LOSSES, made with its options.

    Args:
        name: a key of LOSSES.
        regions: labels overlap: the mean over them of the loss of one channel, see RegionLoss.
        deep_supervision_weights: None for one output; else see deep_supervision.
        options: keyword arguments of the named loss.

    Raises:
        ConfigError: an unknown name or option (the text lists those there are), or a value that
            cannot be.
    """
    if name not in LOSSES:
        raise ConfigError(
            f"no loss is named {name!r}{_nearest(name, LOSSES)}; there are: {', '.join(LOSSES)}"
        )
    accepted = list(inspect.signature(LOSSES[name]).parameters)
    for option in options:
        if option not in accepted:
            hint = _nearest(option, accepted)
            raise ConfigError(
                f"loss {name} has no option {option!r}{hint}; there are: {', '.join(accepted)}"
            )
    loss = _of_regions(name, options) if regions else LOSSES[name](**options)
    return (
        loss
        if deep_supervision_weights is None
        else deep_supervision(loss, deep_supervision_weights)
    )


def _of_regions(name: str, options: dict[str, Any]) -> RegionLoss:
    for option in ("class_weights", "label_smoothing"):
        if options.get(option):
            raise ConfigError(
                f"loss {name}: {option} is not there for regions, each of which is a label of its "
                "own; leave it out"
            )
    return RegionLoss(LOSSES[name](**{**options, "sigmoid": True}))


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    """A hint at the most similar known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_factors(dice_weight: float, ce_weight: float) -> None:
    if dice_weight < 0.0 or ce_weight < 0.0:
        raise ConfigError("dice_weight and ce_weight must be 0 or more")


def _check_smoothing(label_smoothing: float, sigmoid: bool) -> None:
    if sigmoid and label_smoothing:
        raise ConfigError(
            "label_smoothing needs a network with several output channels: MONAI ignores it with "
            "sigmoid"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ConfigError("label_smoothing must be in 0..1")


def _check_weights(class_weights: Sequence[float] | None, sigmoid: bool) -> None:
    """Refuse class weights that cannot be; they need several classes, for MONAI as well."""
    if class_weights is None:
        return
    if sigmoid:
        raise ConfigError(
            "class_weights need a network with several output channels; sigmoid=True has one"
        )
    if not len(class_weights) or min(class_weights) < 0:
        raise ConfigError(
            f"class_weights must be one number per class, 0 or more, not {class_weights!r}"
        )
