"""MONAI's networks whose heads come as a list in training, each at its own resolution."""

from monai.networks import nets
from monai.networks.nets.dynunet import DynUNetSkipLayer
from torch import Tensor


class DynUNetOfHeads(nets.DynUNet):
    """MONAI's DynUNet that gives its heads as a list, and computes them in training only.

    MONAI stacks them in one tensor, resized to the finest, and leaves them in the module, where a
    copy of the network would stumble over them. Neither form with heads is for TorchScript; this
    one goes through torch.export.
    """

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits; in training with deep supervision those of the heads, finest first."""
        levels: list[DynUNetSkipLayer] = []
        skips: list[Tensor] = []
        layer = self.skip_layers
        while isinstance(layer, DynUNetSkipLayer):
            x = layer.downsample(x)
            levels.append(layer)
            skips.append(x)
            layer = layer.next_layer
        x = layer(x)
        heads: list[Tensor] = []
        for level, skip in zip(reversed(levels), reversed(skips), strict=True):
            x = level.upsample(x, skip)
            if self.training and self.deep_supervision and level.super_head is not None:
                heads.append(level.super_head(x))
        logits = self.output_block(x)
        return [logits, *reversed(heads)] if heads else logits


class MedNeXtOfHeads(nets.MedNeXt):
    """MONAI's MedNeXt that gives its heads as a list."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits; in training with deep supervision those of the heads, finest first."""
        found = super().forward(x)
        return found if isinstance(found, Tensor) else list(found)
