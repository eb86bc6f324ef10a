"""The losses of training by name, with formula, use and source; a new loss is an entry here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .boundary.distance import BoundaryLoss, HausdorffLoss
from .boundary.shape_aware import ShapeAwareLoss
from .checks import check_class_weights
from .compound.combo import ComboLoss
from .compound.dice_ce import dice_ce, dice_ce_nnunet
from .compound.exponential_logarithmic import ExponentialLogarithmicLoss
from .compound.papers import DiceFocalLoss, UCTransNetLoss, UNetPlusPlusLoss
from .compound.structural_similarity import StructuralSimilarityLoss
from .compound.structure import structure
from .distribution.cross_entropy import BalancedCrossEntropyLoss, CrossEntropyLoss
from .distribution.distance_map import DistanceMapCrossEntropyLoss
from .distribution.focal import FocalLoss
from .label_loss import LabelLoss
from .region.dice import AttentionUNetDiceLoss, LogCoshDiceLoss, SoftDiceLoss
from .region.generalised_dice import GeneralisedDiceLoss
from .region.sensitivity_specificity import SensitivitySpecificityLoss
from .region.sorensen import SorensenDiceLoss
from .region.tversky import FocalTverskyLoss, TverskyLoss
from .wrapping.segmentation_loss import SegmentationLoss

FAMILIES = ("distribution", "region", "boundary", "compound")
_SET_BY_TRAINING = ("to_onehot_y", "softmax", "sigmoid", "weight", "reduction")


@dataclass(frozen=True)
class NamedLoss:
    """A loss that a bundle can name.

    Args:
        family: one of FAMILIES.
        formula: in words and ASCII; p a label's probability, y 0 or 1.
        use: when to take it.
        source: the paper.
        make: makes it of its options, `sigmoid` and `class_weights` among them.
        options: their names and defaults.
    """

    family: str
    formula: str
    use: str
    source: str
    make: Callable[..., SegmentationLoss]
    options: dict[str, Any]


def in_training(
    kind: type[LabelLoss],
    *,
    class_weights: Any = None,
    sigmoid: bool = False,
    **options: Any,
) -> SegmentationLoss:
    """A loss of formulas as training takes it: of logits and label maps, perhaps partial ones."""
    check_class_weights(class_weights, sigmoid)
    loss = kind(
        to_onehot_y=not sigmoid,
        softmax=not sigmoid,
        sigmoid=sigmoid,
        weight=class_weights,
        **options,
    )
    loss.looks_for_ignored = False  # SegmentationLoss is told which voxels count
    return SegmentationLoss(
        loss,
        sigmoid=sigmoid,
        class_weights=class_weights,
        remake=partial(in_training, kind, **options),
        masked=True,
    )


def _formula(
    family: str, kind: type[LabelLoss], formula: str, use: str, source: str, **defaults: Any
) -> NamedLoss:
    """The entry of a loss of formulas, perhaps with other defaults than its class."""
    options = {"sigmoid": False} | ({"class_weights": None} if kind.has_weights else {})
    options |= {**_keywords(kind), **defaults}
    return NamedLoss(family, formula, use, source, partial(in_training, kind, **defaults), options)


def _preset(
    family: str, make: Any, formula: str, use: str, source: str, **defaults: Any
) -> NamedLoss:
    """The entry of a loss that is made by a function, or a class of its own."""
    options = {
        name: parameter.default for name, parameter in inspect.signature(make).parameters.items()
    }
    made = partial(make, **defaults) if defaults else make
    return NamedLoss(family, formula, use, source, made, {**options, **defaults})


def _keywords(kind: type[LabelLoss]) -> dict[str, Any]:
    """The keyword arguments of a class and of those it passes others on to, with defaults."""
    found: dict[str, Any] = {}
    for parent in kind.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = inspect.signature(vars(parent)["__init__"]).parameters.values()
        own = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
        found = {**{one.name: one.default for one in own}, **found}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            break
    return {name: value for name, value in found.items() if name not in _SET_BY_TRAINING}


LOSSES: dict[str, NamedLoss] = {
    "cross_entropy": _formula(
        "distribution",
        CrossEntropyLoss,
        "-sum_c y log p, mean over voxels",
        "labels of about the same size; a baseline",
        "Jadon 2020, arXiv 2006.14822",
    ),
    "weighted_cross_entropy": _formula(
        "distribution",
        CrossEntropyLoss,
        "-sum_c w_c y log p; w_c is beta for the foreground, times class_weights",
        "small labels: beta above 1 against missed voxels, below 1 against false ones",
        "Pihur et al. 2007; Jadon 2020, arXiv 2006.14822",
        beta=2.0,
    ),
    "balanced_cross_entropy": _formula(
        "distribution",
        BalancedCrossEntropyLoss,
        "-sum_c (1 - n_c/N) y log p; n_c of the batch's N voxels",
        "small labels whose weights one does not want to choose",
        "Xie and Tu 2015, arXiv 1504.06375",
    ),
    "focal": _formula(
        "distribution",
        FocalLoss,
        "-sum_c y (1 - p)^gamma log p",
        "very small labels, many easy voxels",
        "Lin et al. 2017, arXiv 1708.02002",
    ),
    "distance_cross_entropy": _formula(
        "distribution",
        DistanceMapCrossEntropyLoss,
        "-sum_c (1 + f) y log p; f = 1 - (d - d_min)/d_max to the true boundary",
        "boundaries that are hard to find",
        "Caliva et al. 2019, arXiv 1908.03679",
    ),
    "dice": _formula(
        "region",
        SoftDiceLoss,
        "1 - 2 sum(p y) / (sum p + sum y)",
        "labels much smaller than the background; Dice is what is measured",
        "Sudre et al. 2017, arXiv 1707.03237",
    ),
    "sorensen_dice": _preset(
        "region",
        SorensenDiceLoss,
        "1 - 2 sum(p y) / (sum p^2 + sum y^2), all classes",
        "as dice, with a steeper slope where p is unsure; Attention U-Net's paper",
        "Oktay et al. 2018, arXiv 1804.03999; Milletari et al. 2016, arXiv 1606.04797",
    ),
    "attention_unet_dice": _formula(
        "region",
        AttentionUNetDiceLoss,
        "1 - 2 (sum(p y) + 0.01) / (sum p + sum y + 0.01)",
        "to repeat what Attention U-Net's authors ran",
        "Oktay et al. 2018, arXiv 1804.03999, the authors' code",
    ),
    "sensitivity_specificity": _formula(
        "region",
        SensitivitySpecificityLoss,
        "r sum((y-p)^2 y)/sum y + (1-r) sum((y-p)^2 (1-y))/sum(1-y)",
        "where missed and false voxels cost differently (ratio r)",
        "Brosch et al. 2015, MICCAI",
    ),
    "tversky": _formula(
        "region",
        TverskyLoss,
        "1 - TP / (TP + alpha FP + beta FN)",
        "lesions: beta above alpha finds more voxels, and more false ones",
        "Salehi et al. 2017, arXiv 1706.05721",
    ),
    "focal_tversky": _formula(
        "region",
        FocalTverskyLoss,
        "(1 - TP / (TP + alpha FP + beta FN))^(1/gamma)",
        "several lesions or labels, of which some stay wrong",
        "Abraham and Khan 2018, arXiv 1810.07842",
    ),
    "log_cosh_dice": _formula(
        "region",
        LogCoshDiceLoss,
        "log(cosh(1 - Dice))",
        "as dice, with a gradient that fades towards the end",
        "Jadon 2020, arXiv 2006.14822",
    ),
    "generalised_dice": _formula(
        "region",
        GeneralisedDiceLoss,
        "1 - 2 sum_c w_c sum(p y) / sum_c w_c sum(p + y); w_c = 1/n_c^2",
        "labels of very different sizes",
        "Sudre et al. 2017, arXiv 1707.03237",
    ),
    "hausdorff": _formula(
        "boundary",
        HausdorffLoss,
        "0.01 mean((p - y)^2 (d_p^alpha + d_y^alpha)) + 1 - Dice",
        "where the farthest error counts (HD95); slow: distance maps of each prediction",
        "Karimi and Salcudean 2019, arXiv 1904.10030",
        distance_weight=0.01,
        dice_weight=1.0,
    ),
    "shape_aware": _formula(
        "boundary",
        ShapeAwareLoss,
        "CE + E CE where wrong; E the mean distance from predicted to true boundary",
        "shapes that should stay whole; slow: distance maps",
        "Al Arif et al. 2017; Jadon 2020, arXiv 2006.14822",
    ),
    "boundary": _formula(
        "boundary",
        BoundaryLoss,
        "0.01 mean(d p) + 1 - Dice, d the signed distance to the true boundary",
        "very small labels; the paper raises distance_weight while it trains",
        "Kervadec et al. 2019, arXiv 1812.07032",
        distance_weight=0.01,
        dice_weight=1.0,
    ),
    "combo": _formula(
        "compound",
        ComboLoss,
        "alpha CE(beta) + (1 - alpha)(1 - Dice)",
        "several organs; beta above 0.5 against missed voxels",
        "Taghanaki et al. 2018, arXiv 1805.02798",
    ),
    "exponential_logarithmic": _formula(
        "compound",
        ExponentialLogarithmicLoss,
        "0.8 mean_c (-ln Dice)^gamma + 0.2 mean w_c (-ln p)^gamma",
        "labels of very different sizes, some of them hard",
        "Wong et al. 2018, arXiv 1809.00076",
    ),
    "dice_ce": _preset(
        "compound",
        dice_ce,
        "1 - 2 sum(p y) / (sum p^2 + sum y^2) + CE",
        "the safe choice; UNETR's",
        "Hatamizadeh et al. 2021, arXiv 2103.10504",
    ),
    "dice_ce_nnunet": _preset(
        "compound",
        dice_ce_nnunet,
        "1 - Dice of the batch's foreground + CE",
        "the safe choice with small batches; nnU-Net's",
        "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z",
    ),
    "dice_focal": _formula(
        "compound",
        DiceFocalLoss,
        "1 - Dice + focal",
        "small organs among large ones",
        "Zhu et al. 2018, arXiv 1808.05238",
    ),
    "unetpp": _formula(
        "compound",
        UNetPlusPlusLoss,
        "1 - sum_c (y log p + 2 y p/(y^2 + p^2)), mean over voxels",
        "to repeat UNet++",
        "Zhou et al. 2020, arXiv 1912.05074",
    ),
    "uctransnet": _formula(
        "compound",
        UCTransNetLoss,
        "0.5 (1 - 2 sum(p y)/(sum p^2 + sum y^2)) + 0.5 CE, both sides alike",
        "to repeat UCTransNet",
        "Wang et al. 2022, arXiv 2109.04335, the authors' code",
    ),
    "structure": _preset(
        "compound",
        structure,
        "sum(w CE)/sum w + 1 - IoU with w; w = 1 + 5 |mean of y around - y|",
        "to repeat TransFuse; boundaries",
        "Zhang et al. 2021, arXiv 2102.08005",
    ),
    "structure_2d": _preset(
        "compound",
        structure,
        "structure, slice by slice",
        "2D networks that take volumes slice by slice",
        "Zhang et al. 2021, arXiv 2102.08005",
        slices=True,
    ),
    "structural_similarity": _formula(
        "compound",
        StructuralSimilarityLoss,
        "0.5 CE + 0.5 sum(e f CE)/sum f; e the difference of p and y normalised locally",
        "thin structures and details",
        "Zhao et al. 2019, arXiv 1910.08711",
    ),
}
"""The losses by name."""
