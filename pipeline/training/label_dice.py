"""Dice a label during training, on the network's grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.utils.enums import CommonKeys as Keys

MEAN_DICE = "val_mean_dice"


def dice_name(label: str) -> str:
    """Name of a label's Dice among the validator's metrics."""
    return f"val_dice_{label}"


class LabelDice(Metric):
    """Mean over cases of each foreground label's Dice, and their mean.

    Not MONAI's MeanDice: that wants one-hot volumes, classes x volume in float32; here one bincount
    a case does. A label that is neither in the case nor predicted is left out of its mean. The
    validator's `state.metrics` gets `val_mean_dice` and `val_dice_<label>` for each label.

    Args:
        labels: names of all channels in order, the background first.
    """

    required_output_keys = (
        Keys.PRED,
        Keys.LABEL,
    )  # of the evaluator's output, in the order of `update`

    def __init__(self, labels: Sequence[str], *, device: str | torch.device = "cpu") -> None:
        self.labels = list(labels)
        super().__init__(device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all cases."""
        count = len(self.labels) - 1
        self._sum = torch.zeros(count, dtype=torch.float64, device=self._device)
        self._cases = torch.zeros(count, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Sequence[torch.Tensor]) -> None:
        """Add the cases of a batch: logits (B, C, *spatial) and labels (B, 1, *spatial)."""
        classes = len(self.labels)
        for logits, label in zip(*output, strict=True):
            prediction = _plain(logits).argmax(0).flatten()
            reference = _plain(label).to(prediction.device).flatten().long()
            joint = torch.bincount(reference * classes + prediction, minlength=classes**2)
            joint = joint[: classes**2].reshape(classes, classes).double()
            total = (joint.sum(0) + joint.sum(1))[1:].to(self._device)
            present = total > 0
            self._sum[present] += (2 * joint.diagonal()[1:].to(self._device)[present]) / total[
                present
            ]
            self._cases += present

    @sync_all_reduce("_sum", "_cases")
    def compute(self) -> torch.Tensor:
        """Dice a foreground label, NaN for one that no case has."""
        return self._sum / torch.where(self._cases > 0, self._cases, torch.nan)

    def completed(self, engine: Any, name: str) -> None:
        """Write the mean under `name` and each label's under its own."""
        each = self.compute()
        engine.state.metrics[name] = float(torch.nanmean(each)) if not each.isnan().all() else 0.0
        for label, value in zip(self.labels[1:], each.tolist(), strict=True):
            engine.state.metrics[dice_name(label)] = value


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
