"""What losses of a formula share: logits and labels in, a number per window and label, reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from monai.networks.utils import one_hot
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from ....data.errors import ConfigError
from .wrapping.tensors import one_against_rest, plain, single

REDUCTIONS = ("mean", "sum", "none")
LEAST_LOG = -100.0
"""What the logarithm of a probability of 0 counts as, as in torch's binary cross-entropy."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows as a formula sees them: how probable each label is at each voxel, and the truth.

    Args:
        input: (B, C, ...) logits, or probabilities.
        activation: "softmax", "sigmoid", or "" where the input is probabilities.
        start: the first channel that has a term: 1 where the background has none.
        y: (B, labels, ...) 0 or 1, of the dtype of the input; 0 where a voxel does not count.
        valid: (B, 1, ...) 1 where a voxel counts, else 0; None where all do.
    """

    input: Tensor
    activation: str
    start: int
    y: Tensor
    valid: Tensor | None

    @property
    def exclusive(self) -> bool:
        """Whether each voxel has one label."""
        return self.activation == "softmax"

    @cached_property
    def p(self) -> Tensor:
        """The probabilities (B, labels, ...), 0 where a voxel does not count."""
        p = self.input
        if self.activation:
            p = p.softmax(1) if self.exclusive else p.sigmoid()
        p = p[:, self.start :]
        return p if self.valid is None else p * self.valid

    @cached_property
    def log_p(self) -> Tensor:
        """The logarithms of the probabilities, without overflow where logits are given."""
        if not self.activation:
            return _logarithm(self.input[:, self.start :])
        log_p = self.input.log_softmax(1) if self.exclusive else functional.logsigmoid(self.input)
        return log_p[:, self.start :]

    @cached_property
    def log_rest(self) -> Tensor:
        """The logarithms of 1 - p."""
        if not self.activation:
            return _logarithm(1 - self.input[:, self.start :])
        scores = one_against_rest(self.input) if self.exclusive else self.input
        return functional.logsigmoid(-scores[:, self.start :])

    @cached_property
    def voxels(self) -> Tensor:
        """How many count, (B, 1)."""
        if self.valid is None:
            return self.y.new_full((len(self.y), 1), float(self.y[0, 0].numel()))
        return self.valid.flatten(2).sum(2).clamp(min=1)

    def total(self, of: Tensor) -> Tensor:
        """The sum (B, labels) over the voxels that count of what each has, (B, labels, ...)."""
        return (of if self.valid is None else of * self.valid).flatten(2).sum(2)

    def mean(self, of: Tensor) -> Tensor:
        """The mean (B, labels) over the voxels that count."""
        return self.total(of) / self.voxels


def _logarithm(p: Tensor) -> Tensor:
    """Of probabilities, at least LEAST_LOG; of 0 the gradient is 0, not NaN."""
    nothing = p == 0
    logs = torch.where(nothing, torch.ones_like(p), p).log().clamp(min=LEAST_LOG)
    return torch.where(nothing, torch.full_like(p, LEAST_LOG), logs)


class LabelLoss(_Loss):
    """A loss in MONAI's style whose formula gives one number per window and label.

    forward(input (B, C, ...) logits or probabilities, target (B, 1, ...) labels or (B, C, ...) of 0
    and 1, valid (B, 1, ...) bool or None) -> scalar, or (B, labels) with reduction "none". Voxels
    that are not valid have no part in it; negative labels are not valid. 2D and 3D. Half precision
    is computed in float32.

    Args:
        include_background: whether the first of several channels has a term.
        to_onehot_y: the target is a label map.
        softmax, sigmoid: what makes probabilities of the input; neither if it has them, which are
            then of labels that do not exclude each other, as with sigmoid.
        weight: factor on each channel's term, background first (unused where it has none); the
            mean is still over the number of labels.
        reduction: "mean" over windows and labels, "sum", or "none". A subclass of which
            `sums_labels` is true takes, of labels that exclude each other (softmax), the sum over
            the labels and the mean over the windows, as cross-entropy does.

    Raises:
        ConfigError: an unknown reduction, softmax with sigmoid; in forward, shapes that differ.
    """

    sums_labels = False
    has_weights = True
    looks_for_ignored = True
    """Whether negative labels are looked for, for which a GPU has to be waited; training says."""

    def __init__(
        self,
        *,
        include_background: bool = True,
        to_onehot_y: bool = False,
        softmax: bool = False,
        sigmoid: bool = False,
        weight: Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ConfigError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
        if softmax and sigmoid:
            raise ConfigError("softmax and sigmoid exclude each other: choose one")
        if weight is not None and not self.has_weights:
            raise ConfigError(f"{type(self).__name__} weighs the labels itself; leave weights out")
        super().__init__(reduction=reduction)
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.softmax, self.sigmoid = softmax, sigmoid
        self.weight = None if weight is None else tuple(float(one) for one in weight)
        self._made_weights: Tensor | None = None

    def terms(self, windows: Windows) -> Tensor:
        """The formula's value per window and label, (B, labels)."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The loss; see the class."""
        with torch.autocast(device_type=input.device.type, enabled=False):
            windows = self._windows(single(plain(input)), plain(target), valid)
            terms = self.terms(windows)
            if self.weight is not None:
                weights = self._weights_like(terms)
                terms = terms * weights[len(weights) - terms.shape[1] :]
            if self.reduction == "none":
                return terms
            if self.reduction == "sum":
                return terms.sum()
            if self.sums_labels and windows.exclusive:
                return terms.sum(1).mean()
            return terms.mean()

    def _weights_like(self, terms: Tensor) -> Tensor:
        """The weights beside some terms, made once: a copy to a GPU cannot be in a CUDA graph."""
        if self._made_weights is None or self._made_weights.device != terms.device:
            self._made_weights = terms.new_tensor(self.weight)
        return self._made_weights.to(terms.dtype)

    def _windows(self, input: Tensor, target: Tensor, valid: Tensor | None) -> Windows:
        channels = input.shape[1]
        if valid is None and self.looks_for_ignored and bool((target < 0).any()):
            valid = (target >= 0).all(1, keepdim=True)
        target = target.clamp(min=0)
        if self.to_onehot_y and channels > 1 and target.shape[1] == 1:
            target = one_hot(target, channels)
        if target.shape != input.shape:
            raise ConfigError(
                f"an input of shape {tuple(input.shape)} and a target of shape "
                f"{tuple(target.shape)}: it wants a label map (B, 1, ...) and to_onehot_y, or a "
                "target of as many channels"
            )
        if self.weight is not None and len(self.weight) != channels:
            raise ConfigError(
                f"{len(self.weight)} weights for {channels} channels, background included"
            )
        start = int(channels > 1 and not self.include_background)
        y = target.to(input.dtype)[:, start:]
        if valid is not None:
            valid = valid.to(input.dtype)
            y = y * valid
        activation = "sigmoid" if self.sigmoid or (self.softmax and channels == 1) else ""
        if self.softmax and channels > 1:
            activation = "softmax"
        return Windows(input, activation, start, y, valid)
