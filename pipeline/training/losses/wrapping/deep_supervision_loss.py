"""One loss over the outputs of a network with deep supervision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DeepSupervisionLoss
from torch import Tensor, nn
from torch.nn import functional

from .....data.errors import ConfigError
from .annotation import Annotation
from .tensors import plain

_WEIGHT_MODES = ("same", "exp", "two")


class DeepSupervision(DeepSupervisionLoss):
    """MONAI's DeepSupervisionLoss that wants as many outputs as weights; see deep_supervision.

    The sum begins on the device: MONAI's copies a 0 there, which cannot be in a CUDA graph.
    """

    def forward(
        self,
        input: Tensor | Sequence[Tensor] | None,
        target: Tensor,
        annotation: Annotation | None = None,
    ) -> Tensor:
        """Weighted sum of the loss over the outputs, finest first; of a tensor the loss itself.

        Args:
            annotation: see SegmentationLoss; None where all is annotated.
        """
        more = () if annotation is None else (annotation,)
        if input is None or isinstance(input, Tensor):
            return self.loss(input, target, *more)
        # MONAI takes weight 1 for all when there are too few, and forgets those that are too many.
        if self.weights is not None and len(self.weights) != len(input):
            raise ConfigError(
                f"{len(self.weights)} deep supervision weights for {len(input)} outputs of the "
                "network"
            )
        target = plain(target)
        if any(output.shape[2:] != target.shape[2:] for output in input):
            target = (
                target.float()
            )  # torch resizes few integer types; whole numbers to 2^24 stay exact
        weights = self.get_weights(levels=len(input))
        total = torch.zeros((), device=target.device)
        for weight, output in zip(weights, input, strict=True):
            size = output.shape[2:]
            labels = target
            if size != target.shape[2:]:
                labels = functional.interpolate(target, size=size, mode=self.interp_mode)
            total = total + weight * self.loss(output.float(), labels, *more)
        return total


def deep_supervision(loss: nn.Module, weights: Sequence[float] | str = "same") -> DeepSupervision:
    """A loss for networks that return, in training, a list of outputs, finest first.

    Labels are brought to an output's size by nearest neighbour. The sum is not normalised.

    Args:
        loss: a loss of (logits, labels).
        weights: one number per output (0 or more), or MONAI's "same" (1 each), "exp" (1, 1/2, 1/4,
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
            f"deep supervision weights must be one number per output, 0 or more, not {weights!r}"
        )
    return DeepSupervision(loss, weights=list(weights))  # type: ignore[arg-type]
