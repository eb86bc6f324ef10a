"""The training losses by name: presets of MONAI's losses of logits and a label map, computed in float32."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from torch import Tensor, nn

from ...data.errors import ConfigError
from .structure_loss import StructureLoss

_WEIGHT_MODES = ("same", "exp", "two")


class SegmentationLoss(nn.Module):
    """A MONAI loss of logits and labels, made safe for mixed precision.

    forward(logits (B, C, ...), labels (B, 1, ...) of whole numbers 0..C-1, any dtype) -> scalar
    tensor. With sigmoid, C is 1 and the labels are 0 or 1. Half precision logits are cast to
    float32 and autocast is off inside: sums over millions of voxels overflow float16. Meta of
    MetaTensors is dropped, class weights move to the logits' device.

    Raises (forward):
        ConfigError: one channel of logits without sigmoid, several with it, labels of another
            shape, or class weights that are not as many as the channels.
    """

    def __init__(self, loss: nn.Module, *, sigmoid: bool, weight_count: int | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.sigmoid = sigmoid
        self.weight_count = weight_count

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, averaged over the batch; see the class."""
        self._check(logits, labels)
        logits, labels = _plain(logits), _plain(labels)
        if self.weight_count is not None:
            self.loss.to(logits.device)
        with torch.autocast(device_type=logits.device.type, enabled=False):
            if logits.dtype in (torch.float16, torch.bfloat16):
                logits = logits.float()
            if self.sigmoid:
                labels = labels.to(logits.dtype)
            return self.loss(logits, labels)

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
        if self.weight_count not in (None, channels):
            raise ConfigError(
                f"{self.weight_count} class_weights for {channels} output channels, background "
                "included"
            )
        if labels.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ConfigError(
                f"logits of shape {tuple(logits.shape)} need labels of shape "
                f"{(logits.shape[0], 1, *logits.shape[2:])}, not {tuple(labels.shape)}"
            )


class SorensenDiceLoss(SegmentationLoss):
    """Soft Dice over all classes, background included, with squared terms in the denominator.

    Mean over batch and classes of `1 - (2 sum(p y) + smooth) / (sum(p^2) + sum(y^2) + smooth)`; p
    is the softmax (or sigmoid) of the logits, sums are over one case's voxels. Range 0..1. MONAI's
    DiceLoss(squared_pred=True). Paper: Oktay et al. 2018, Attention U-Net (arXiv 1804.03999), after
    Milletari et al. 2016, V-Net.

    Args:
        class_weights: factor on each class's term, background first; the mean is still over the
            number of classes.
        batch: sums over all cases of the batch at once, instead of a Dice a case.
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
        weight_count = _check_weights(class_weights, sigmoid)
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
        super().__init__(loss, sigmoid=sigmoid, weight_count=weight_count)


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
    """Soft Dice (squared terms, all classes) plus cross-entropy: MONAI's DiceCELoss as UNETR's paper has it.

    With sigmoid, for one output channel, the second term is binary cross-entropy. A version of our
    own with an analytic gradient gave the same values in 23 ms instead of 32 ms, forward and
    backward of (2, 6, 64, 64, 64) on one core: not worth its code. Paper: Hatamizadeh et al. 2021
    (arXiv 2103.10504), equation 3.

    Args:
        squared: squares in Dice's denominator; False for the plain sums of most other papers.
        include_background: whether Dice counts the background (cross-entropy always does).
        batch: Dice's sums over all cases of the batch at once.
        dice_weight, ce_weight: factors of the two terms, 0 or more.
        class_weights: a factor a class, background first, for both terms. Cross-entropy then is a
            weighted mean over voxels.
        label_smoothing: 0..1, of the cross-entropy's target only; not with sigmoid.
        smooth: added to numerator and denominator of Dice.
    """
    weight_count = _check_weights(class_weights, sigmoid)
    if sigmoid and label_smoothing:
        raise ConfigError(
            "label_smoothing needs a network with several output channels: MONAI ignores it with "
            "sigmoid"
        )
    if not 0.0 <= label_smoothing <= 1.0 or dice_weight < 0.0 or ce_weight < 0.0:
        raise ConfigError(
            "label_smoothing must be in 0..1, and dice_weight and ce_weight 0 or more"
        )
    loss = DiceCELoss(
        # The single channel of a sigmoid network is the foreground already.
        include_background=include_background or sigmoid,
        to_onehot_y=not sigmoid,
        softmax=not sigmoid,
        sigmoid=sigmoid,
        squared_pred=squared,
        batch=batch,
        smooth_nr=smooth,
        smooth_dr=smooth,
        weight=None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32),
        lambda_dice=dice_weight,
        lambda_ce=ce_weight,
        label_smoothing=label_smoothing,
    )
    return SegmentationLoss(loss, sigmoid=sigmoid, weight_count=weight_count)


def dice_ce_nnunet(
    *,
    batch: bool = True,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    sigmoid: bool = False,
) -> SegmentationLoss:
    """Plain soft Dice of the foreground over the whole batch, plus cross-entropy, as nnU-Net trains.

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
    """Boundary-weighted cross-entropy plus boundary-weighted IoU of the foreground, as TransFuse trains.

    Paper: Zhang et al. 2021 (arXiv 2102.08005). Arguments are those of
    structure_loss.StructureLoss, which says what is ours in 3D and with several classes.
    """
    weight_count = _check_weights(class_weights, sigmoid)
    loss = StructureLoss(
        kernel=kernel, boundary=boundary, class_weights=class_weights, slices=slices
    )
    return SegmentationLoss(loss, sigmoid=sigmoid, weight_count=weight_count)


class DeepSupervision(DeepSupervisionLoss):
    """MONAI's DeepSupervisionLoss that wants as many outputs as weights; see deep_supervision."""

    def forward(self, input: Tensor | Sequence[Tensor] | None, target: Tensor) -> Tensor:
        """Weighted sum of the loss over the outputs, finest first; of a plain tensor the loss itself."""
        if input is None or isinstance(input, Tensor):
            return self.loss(input, target)
        # MONAI takes weight 1 for all when there are too few, and forgets those that are too many.
        if self.weights is not None and len(self.weights) != len(input):
            raise ConfigError(
                f"{len(self.weights)} deep supervision weights for {len(input)} outputs of the "
                "network"
            )
        target = _plain(target)
        if any(output.shape[2:] != target.shape[2:] for output in input):
            target = (
                target.float()
            )  # torch resizes few integer types; whole numbers to 2^24 stay exact
        return super().forward(list(input), target)


def deep_supervision(loss: nn.Module, weights: Sequence[float] | str = "same") -> DeepSupervision:
    """A loss for networks that return a list of outputs, finest first, in training, else a plain tensor.

    Labels are brought to an output's size by nearest neighbour. The sum is not normalised.

    Args:
        loss: a loss of (logits, labels).
        weights: one number an output (0 or more), or MONAI's "same" (1 each), "exp" (1, 1/2, 1/4,
            ... down to 1/16) or "two" (1, then 1/2 each).

    Raises:
        ConfigError: an unknown mode, no or negative weights; in forward, when their number is not
            the outputs'.
    """
    if isinstance(weights, str):
        if weights not in _WEIGHT_MODES:
            raise ConfigError(
                f"deep supervision weights {weights!r} are not one of {', '.join(_WEIGHT_MODES)}, "
                "or numbers"
            )
        return DeepSupervision(loss, weight_mode=weights)  # type: ignore[arg-type]  # any module will do
    if not len(weights) or min(weights) < 0:
        raise ConfigError(
            f"deep supervision weights must be one number an output, 0 or more, not {weights!r}"
        )
    return DeepSupervision(loss, weights=list(weights))  # type: ignore[arg-type]


LOSSES: dict[str, Callable[..., SegmentationLoss]] = {
    "sorensen_dice": SorensenDiceLoss,
    "dice_ce": dice_ce,
    "dice_ce_nnunet": dice_ce_nnunet,
    "structure": structure,
    "structure_2d": partial(
        structure, slices=True
    ),  # of 2D networks that take volumes slice by slice
}
"""Name -> what makes the loss."""


def build_loss(
    name: str, *, deep_supervision_weights: Sequence[float] | str | None = None, **options: Any
) -> nn.Module:
    """The loss of a name in LOSSES, made with its options.

    Args:
        name: a key of LOSSES.
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
    loss = LOSSES[name](**options)
    return (
        loss
        if deep_supervision_weights is None
        else deep_supervision(loss, deep_supervision_weights)
    )


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    """A hint at the most similar known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _plain(tensor: Tensor) -> Tensor:
    """The tensor without MetaTensor's bookkeeping, which every operation would carry along."""
    return tensor.as_subclass(Tensor) if type(tensor) is not Tensor else tensor


def _check_weights(class_weights: Sequence[float] | None, sigmoid: bool) -> int | None:
    """How many class weights there are; they only make sense, to MONAI too, with several classes."""
    if class_weights is None:
        return None
    if sigmoid:
        raise ConfigError(
            "class_weights need a network with several output channels; sigmoid=True has one"
        )
    if not len(class_weights) or min(class_weights) < 0:
        raise ConfigError(
            f"class_weights must be one number a class, 0 or more, not {class_weights!r}"
        )
    return len(class_weights)
