"""The losses of training: formulas by family, and what makes them fit for training.

`gridgate losses` lists them. A new one is a class of one of the families' folders, see LabelLoss,
and an entry in catalogue.py.
"""

from .boundary.distance import BoundaryLoss, HausdorffLoss
from .boundary.shape_aware import ShapeAwareLoss
from .build import build_loss
from .catalogue import LOSSES, NamedLoss
from .compound.combo import ComboLoss
from .compound.dice_ce import dice_ce, dice_ce_nnunet
from .compound.exponential_logarithmic import ExponentialLogarithmicLoss
from .compound.papers import DiceFocalLoss, UCTransNetLoss, UNetPlusPlusLoss
from .compound.structural_similarity import StructuralSimilarityLoss
from .compound.structure import StructureLoss, structure
from .distribution.cross_entropy import BalancedCrossEntropyLoss, CrossEntropyLoss
from .distribution.distance_map import DistanceMapCrossEntropyLoss
from .distribution.focal import FocalLoss
from .label_loss import LabelLoss, Windows
from .region.dice import AttentionUNetDiceLoss, LogCoshDiceLoss, SoftDiceLoss
from .region.generalised_dice import GeneralisedDiceLoss
from .region.sensitivity_specificity import SensitivitySpecificityLoss
from .region.sorensen import SorensenDiceLoss
from .region.tversky import FocalTverskyLoss, TverskyLoss
from .wrapping.deep_supervision_loss import DeepSupervision, deep_supervision
from .wrapping.segmentation_loss import SegmentationLoss

__all__ = [
    "LOSSES",
    "AttentionUNetDiceLoss",
    "BalancedCrossEntropyLoss",
    "BoundaryLoss",
    "ComboLoss",
    "CrossEntropyLoss",
    "DeepSupervision",
    "DiceFocalLoss",
    "DistanceMapCrossEntropyLoss",
    "ExponentialLogarithmicLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralisedDiceLoss",
    "HausdorffLoss",
    "LabelLoss",
    "LogCoshDiceLoss",
    "NamedLoss",
    "SegmentationLoss",
    "SensitivitySpecificityLoss",
    "ShapeAwareLoss",
    "SoftDiceLoss",
    "SorensenDiceLoss",
    "StructuralSimilarityLoss",
    "StructureLoss",
    "TverskyLoss",
    "UCTransNetLoss",
    "UNetPlusPlusLoss",
    "Windows",
    "build_loss",
    "deep_supervision",
    "dice_ce",
    "dice_ce_nnunet",
    "structure",
]
