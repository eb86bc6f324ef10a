"""The compound losses that the networks of this project were published with, and Dice + focal."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....data.errors import ConfigError
from ..distribution.focal import FocalLoss
from ..label_loss import LabelLoss, Windows
from ..region.dice import SoftDiceLoss


class UNetPlusPlusLoss(LabelLoss):
    """UNet++'s hybrid loss: ``1 - sum_c (y log p + 2 y p / (y^2 + p^2))``, the mean over voxels.

    A cross-entropy, and a Dice of each voxel. The paper's number is smaller by 1. With sigmoid the
    rest is a label of its own. Paper: Zhou et al. 2020 (arXiv 1912.05074), equation 1; the first
    one, of 2018 (arXiv 1807.10165), has the Dice of whole images: `dice_ce`.

    Args:
        options: see LabelLoss.
    """

    sums_labels = True

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        found = windows.y * (1 - windows.log_p - _dice_of_voxel(windows.p))
        if windows.exclusive:
            return windows.mean(found)
        rest = 1 - windows.log_rest - _dice_of_voxel(1 - windows.p)
        return windows.mean(found + (1 - windows.y) * rest)


def _dice_of_voxel(p: Tensor) -> Tensor:
    """2 y p / (y^2 + p^2) of a voxel that has the label."""
    return 2 * p / (1 + p**2)


class UCTransNetLoss(LabelLoss):
    """UCTransNet's loss: 0.5 Dice + 0.5 cross-entropy, whose two sides weigh the same.

    Dice has squares, and is of each window; of the cross-entropy of each label against the rest the
    mean over the label's voxels in the batch and the mean over the others' weigh 0.5 each. The mean
    over windows and labels. From the authors' training code of Wang et al. 2022 (arXiv 2109.04335),
    which takes probabilities: give it neither softmax nor sigmoid for those.

    Args:
        dice_weight, ce_weight: factors of the two, 0 or more.
        options: see LabelLoss.

    Raises:
        ConfigError: a factor is below 0.
    """

    def __init__(self, *, dice_weight: float = 0.5, ce_weight: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if dice_weight < 0 or ce_weight < 0:
            raise ConfigError("dice_weight and ce_weight must be 0 or more")
        self.dice_weight, self.ce_weight = dice_weight, ce_weight
        # the authors halve p and y first: a quarter of the sums, and the same 1e-5 beside them
        self.dice = SoftDiceLoss(squared=True, smooth=4e-5)

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        inside = windows.total(windows.y).sum(0)
        outside = windows.voxels.sum() - inside
        found = -windows.total(windows.y * windows.log_p).sum(0) / inside.clamp(min=1)
        rest = -windows.total((1 - windows.y) * windows.log_rest).sum(0) / outside.clamp(min=1)
        entropy = 0.5 * found + 0.5 * rest
        return self.dice_weight * self.dice.terms(windows) + self.ce_weight * entropy


class DiceFocalLoss(LabelLoss):
    """Soft Dice plus focal loss, as AnatomyNet trained on the head and neck.

    MONAI's DiceFocalLoss is this with its own focal loss, see FocalLoss. Paper: Zhu et al. 2018
    (arXiv 1808.05238), which has Tversky's form and 0.5 for the focal term.

    Args:
        gamma: of the focal loss.
        dice_weight, focal_weight: factors of the two, 0 or more.
        squared, smooth: of Dice, see SoftDiceLoss.
        options: see LabelLoss.

    Raises:
        ConfigError: a factor is below 0.
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        dice_weight: float = 1.0,
        focal_weight: float = 1.0,
        squared: bool = False,
        smooth: float = 1e-5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if dice_weight < 0 or focal_weight < 0:
            raise ConfigError("dice_weight and focal_weight must be 0 or more")
        self.dice_weight, self.focal_weight = dice_weight, focal_weight
        self.dice = SoftDiceLoss(squared=squared, smooth=smooth)
        self.focal = FocalLoss(gamma=gamma)

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        focal = self.focal.terms(windows)
        if windows.exclusive:  # a sum over labels, where the mean over them is taken
            focal = focal * focal.shape[1]
        return self.dice_weight * self.dice.terms(windows) + self.focal_weight * focal
