"""Cross-entropy: plain, weighted, and balanced by how frequent labels are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....data.errors import ConfigError
from ..label_loss import LabelLoss, Windows


class CrossEntropyLoss(LabelLoss):
    """The mean over voxels of minus the logarithm of the true label's probability.

    With softmax ``-sum_c w_c y_c log p_c``; with sigmoid ``-(w y log p + (1 - y) log(1 - p))``,
    the mean over channels. Unlike torch's, the weighted form is divided by the number of voxels,
    as in the papers, not by the sum of their weights.

    Args:
        beta: factor w on voxels of the foreground: above 1 against missed ones, below 1 against
            false ones. Paper: Pihur et al. 2007, after Jadon 2020 (arXiv 2006.14822), equation 2.
        options: see LabelLoss.

    Raises:
        ConfigError: beta is not above 0.
    """

    sums_labels = True

    def __init__(self, *, beta: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if beta <= 0:
            raise ConfigError(f"beta must be above 0, not {beta}")
        self.beta = beta

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        entropy = -windows.mean(windows.y * windows.log_p)
        if not windows.exclusive:
            rest = -windows.mean((1 - windows.y) * windows.log_rest)
            return self.beta * entropy + rest
        factors = entropy.new_full((entropy.shape[1],), self.beta)
        if windows.start == 0:
            factors[0] = 1.0
        return entropy * factors


class BalancedCrossEntropyLoss(LabelLoss):
    """Cross-entropy in which the rarer a label is in the batch, the more its voxels weigh.

    With softmax a voxel of label c weighs ``1 - n_c / N``, where n_c of the batch's N voxels have
    it; with sigmoid ``-(b y log p + (1 - b)(1 - y) log(1 - p))``, ``b = 1 - n / N``. The mean is
    over voxels. A batch of one label alone has the loss 0. Paper: Xie and Tu 2015, HED (arXiv
    1504.06375), after Jadon 2020 (arXiv 2006.14822), equation 3; its shares are of an image.

    Args:
        options: see LabelLoss.
    """

    sums_labels = True

    def terms(self, windows: Windows) -> Tensor:
        """See the class."""
        share = windows.total(windows.y).sum(0) / windows.voxels.sum()
        entropy = -windows.mean(windows.y * windows.log_p)
        if windows.exclusive:
            return (1 - share) * entropy
        rest = -windows.mean((1 - windows.y) * windows.log_rest)
        return (1 - share) * entropy + share * rest
