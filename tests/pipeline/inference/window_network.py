"""What the tests of sliding windows share."""

import torch
from torch import nn

from gridgate.transforms.restore.slabs import ScoreSlabs


class Network(nn.Module):
    """Three classes by two convolutions and an instance norm; remembers the batches that came."""

    def __init__(self, spatial_dims: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        norm = nn.InstanceNorm3d if spatial_dims == 3 else nn.InstanceNorm2d
        self.layers = nn.Sequential(
            convolution(1, 4, 3, padding=1), norm(4), nn.ReLU(), convolution(4, 3, 3, padding=1)
        )
        self.batches: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(image))
        logits: torch.Tensor = self.layers(image)
        return logits


def image(*size: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(seed))


def joined(slabs: ScoreSlabs) -> torch.Tensor:
    """(C, *shape) of slabs, which must be in order and without gaps."""
    parts, reached = [], 0
    for slab in slabs:
        assert slab.start == reached
        reached += len(slab.scores)
        parts.append(slab.scores)
    assert reached == slabs.shape[slabs.axis]
    return torch.cat(parts).movedim(-1, 0).movedim(1, 1 + slabs.axis)
