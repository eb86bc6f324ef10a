"""A loss of logits and a label map, checked and computed in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....data.errors import ConfigError


class SegmentationLoss(nn.Module):
    """A MONAI loss of logits and labels, made safe for mixed precision.

    forward(logits (B, C, ...), labels (B, 1, ...) of whole numbers 0..C-1, any dtype) -> scalar
    tensor. With sigmoid, C is 1 and the labels are 0 or 1. Half precision logits are cast to
    float32 and autocast is off inside: sums over millions of voxels overflow float16. Meta of
    MetaTensors is dropped, class weights move to the logits' device.

    Raises (forward):
        ConfigError: one channel of logits without sigmoid, several with it, labels of another
            shape, or with values above 1 with sigmoid, or class weights that are not as many as the
            channels.
    """

    def __init__(self, loss: nn.Module, *, sigmoid: bool, weight_count: int | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.sigmoid = sigmoid
        self.weight_count = weight_count

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, averaged over the batch; see the class."""
        self._check(logits, labels)
        logits, labels = plain(logits), plain(labels)
        if self.weight_count is not None:
            self.loss.to(logits.device)
        with torch.autocast(device_type=logits.device.type, enabled=False):
            if logits.dtype in (torch.float16, torch.bfloat16):
                logits = logits.float()
            if self.sigmoid:
                if labels.numel() and labels.max() > 1:
                    raise ConfigError(
                        f"a label map holds {int(labels.max())}, but a network of one output "
                        "channel knows 0 and 1 alone: give it one channel per label, or merge "
                        "labels by --merge_labels"
                    )
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


def plain(tensor: Tensor) -> Tensor:
    """The tensor without MetaTensor's bookkeeping, which every operation would carry along."""
    return tensor.as_subclass(Tensor) if type(tensor) is not Tensor else tensor
