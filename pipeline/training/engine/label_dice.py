"""Dice per label during training, on the network's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.utils.enums import CommonKeys as Keys

from ....data.errors import ConfigError
from ....transforms.restore.regions import region_bits

MEAN_DICE = "val_mean_dice"


def dice_name(label: str) -> str:
    """Name of a label's Dice among the validator's metrics."""
    return f"val_dice_{label}"


def labels_of(
    scores: torch.Tensor, *, dim: int, probabilities: bool = False, regions: bool = False
) -> torch.Tensor:
    """The label of each voxel, with a size of 1 along `dim`, in the smallest unsigned integer type.

    Args:
        scores: logits along `dim`; of a single one the label is 1 where the logit is above 0.
        probabilities: they are probabilities; of a single one the label is 1 above 0.5.
        regions: they overlap; a label is the bits of those that hold the voxel.

    Example:
        >>> labels_of(torch.tensor([[-1.0], [2.0]]), dim=1).flatten().tolist()
        [0, 1]
    """
    classes = scores.shape[dim]
    if regions:
        bits = region_bits(scores, dim=dim, threshold=0.5 if probabilities else 0.0)
        return bits.unsqueeze(dim).to(torch.uint8 if classes <= 8 else torch.int32)
    if classes == 1:
        return (scores > (0.5 if probabilities else 0.0)).to(torch.uint8)
    smallest = torch.uint8 if classes <= 256 else torch.int32
    return scores.argmax(dim, keepdim=True).to(smallest)


class LabelDice(Metric):
    """Mean over cases of each foreground label's Dice, and their mean.

    Not MONAI's MeanDice: that wants one-hot volumes, classes x volume in float32; here one bincount
    per case does. A label that is neither in the case nor predicted is left out of its mean, and so
    is one that the case does not have annotated. Voxels to ignore (-1 in the reference) do not
    count. The engine's `state.metrics` gets the mean under the metric's name and
    `val_dice_<label>` for each label.

    Args:
        labels: names of all labels in order, the background first.
        regions: they overlap: label maps hold the bits of the regions, bit 0 for the first.
    """

    required_output_keys = None

    def __init__(
        self,
        labels: Sequence[str],
        *,
        regions: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        self.labels = list(labels)
        self.regions = regions
        super().__init__(output_transform=_wanted, device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all cases."""
        count = len(self.labels) - 1
        self._sum = torch.zeros(count, dtype=torch.float64, device=self._device)
        self._cases = torch.zeros(count, dtype=torch.float64, device=self._device)
        self._drawn = torch.zeros(count, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the cases of a batch.

        Args:
            output: predictions and reference label maps (B, 1, *spatial), and perhaps what is
                annotated, (B, labels) bool. A prediction is a label map of integers (B, 1,
                *spatial), or logits (B, C, *spatial); of deep supervision's list the finest counts.
                A decollated batch is a list of dicts.

        Raises:
            ConfigError: the network has not as many channels as there are labels, or a label map
                holds other values.
        """
        predictions: Any
        references: Any
        annotated: Any = None
        if output and isinstance(output[0], Mapping):
            predictions = [one[Keys.PRED] for one in output]
            references = [one[Keys.LABEL] for one in output]
            annotated = [one.get("annotated") for one in output]
        else:
            predictions, references, *rest = output
            annotated = rest[0] if rest else None
        if isinstance(references, torch.Tensor) and not isinstance(predictions, torch.Tensor):
            predictions = predictions[0]
        annotated = [None] * len(references) if annotated is None else annotated
        for prediction, reference, there in zip(predictions, references, annotated, strict=True):
            self._add(_plain(prediction), _plain(reference), there)

    def _add(
        self, prediction: torch.Tensor, reference: torch.Tensor, annotated: Any = None
    ) -> None:
        if self.regions:
            both, found, drawn = self._of_regions(prediction, reference)
        else:
            both, found, drawn = self._of_labels(prediction, reference)
        total = (found + drawn).to(self._device)
        present, there = total > 0, drawn.to(self._device) > 0
        if annotated is not None:
            known = torch.as_tensor(annotated)[1:].to(self._device)
            present, there = present & known, there & known
        self._sum[present] += (2 * both.to(self._device)[present]) / total[present]
        self._cases += present
        self._drawn += there

    def _of_regions(
        self, prediction: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of each region how many voxels both maps have, the prediction, and the reference."""
        count = len(self.labels) - 1
        if prediction.is_floating_point():
            if len(prediction) != count:
                raise ConfigError(
                    f"the network has {len(prediction)} output channels for {count} regions; give "
                    "it one per region"
                )
            prediction = labels_of(prediction, dim=0, regions=True)
        reference = reference.to(prediction.device).flatten().int()
        counted = reference >= 0
        found, truth = prediction.flatten().int()[counted], reference[counted]
        if len(truth) and int(torch.maximum(found.max(), truth.max())) >= 1 << count:
            raise ConfigError(f"a validation for {count} regions has bits of more than these")
        sums = [
            (
                ((found & truth) >> number & 1).sum(),
                (found >> number & 1).sum(),
                (truth >> number & 1).sum(),
            )
            for number in range(count)
        ]
        both, each, drawn = (torch.stack(column).double() for column in zip(*sums, strict=True))
        return both, each, drawn

    def _of_labels(
        self, prediction: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `_of_regions`, of labels that exclude each other."""
        classes = len(self.labels)
        if prediction.is_floating_point():
            if len(prediction) != classes and (len(prediction), classes) != (1, 2):
                raise ConfigError(
                    f"the network has {len(prediction)} output channels for {classes} labels, the "
                    "background included; give it one per label, or a single one for one label"
                )
            prediction = labels_of(prediction, dim=0)
        prediction = prediction.flatten().long()
        reference = reference.to(prediction.device).flatten().long()
        # what is ignored comes into a first row, which is left out
        joint = torch.bincount(
            (reference + 1) * classes + prediction, minlength=(classes + 1) * classes
        )[classes:]
        if len(joint) > classes**2 or int(prediction.max()) >= classes:
            raise ConfigError(
                f"labels up to {int(max(prediction.max(), reference.max()))} in a validation for "
                f"{classes} labels, the background included; a network needs one output channel "
                "per label, or a single one for one label"
            )
        joint = joint.reshape(classes, classes).double()
        return joint.diagonal()[1:], joint.sum(0)[1:], joint.sum(1)[1:]

    @sync_all_reduce("_sum", "_cases", "_drawn")
    def compute(self) -> torch.Tensor:
        """Dice per foreground label, NaN for one that no case has."""
        self._measurable = bool(self._drawn.sum() > 0)  # here it is that of all processes
        return self._sum / torch.where(self._cases > 0, self._cases, torch.nan)

    def completed(self, engine: Any, name: str) -> None:
        """Write the mean under `name` and each label's under its own.

        The mean is NaN, which is no best one, where no case has any of the labels: the first
        validation, of a network that finds nothing yet, would be the best for good.
        """
        each = self.compute()
        mean = float(torch.nanmean(each)) if self._measurable else float("nan")
        engine.state.metrics[name] = mean
        for label, value in zip(self.labels[1:], each.tolist(), strict=True):
            engine.state.metrics[dice_name(label)] = value


def _wanted(output: Any) -> Any:
    """What `update` takes, of an engine's output; a decollated batch as it is."""
    if not isinstance(output, Mapping):
        return output
    return output[Keys.PRED], output[Keys.LABEL], output.get("annotated")


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
