"""Convolutions of small maps run in float32 when a network is trained in bfloat16 on a CPU."""

import pytest
import torch
from torch import nn

from gridgate.pipeline.training.engine.passes.small_maps import SmallMapsInFloat32


@pytest.mark.parametrize(
    ("convolution", "size", "exact"),
    [
        (
            nn.Conv3d(4, 4, 3, padding=1),
            (2, 12, 12),
            True,
        ),  # a map smaller than 8 voxels along one axis
        (nn.Conv3d(4, 4, 3, padding=1), (12, 12, 12), False),
        (nn.Conv3d(4, 4, 7, padding=3), (12, 12, 12), True),  # a large kernel
        (nn.ConvTranspose3d(4, 4, 2, stride=2), (4, 4, 4), True),
        (nn.ConvTranspose3d(4, 4, 2, stride=2), (12, 12, 12), False),
    ],
)
def test_small_maps_and_large_kernels_run_in_float32(
    convolution: nn.Module, size: tuple[int, int, int], exact: bool
) -> None:
    features = torch.rand(1, 4, *size).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolution(features).dtype == torch.bfloat16
        with SmallMapsInFloat32():
            maps = convolution(features)
    assert maps.dtype == (torch.float32 if exact else torch.bfloat16)
    maps.float().sum().backward()
    assert convolution.weight.grad.isfinite().all()
    torch.testing.assert_close(maps.float(), convolution(features.float()), rtol=0.02, atol=0.02)
