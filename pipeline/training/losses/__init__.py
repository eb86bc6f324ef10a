"""The losses of training; a new one is a function and a line of LOSSES in presets.py."""

from .deep_supervision_loss import DeepSupervision, deep_supervision
from .logits_loss import SegmentationLoss
from .presets import LOSSES, SorensenDiceLoss, build_loss, dice_ce, dice_ce_nnunet, structure

__all__ = [
    "LOSSES",
    "DeepSupervision",
    "SegmentationLoss",
    "SorensenDiceLoss",
    "build_loss",
    "deep_supervision",
    "dice_ce",
    "dice_ce_nnunet",
    "structure",
]
