"""Which convolutions run in float32 where a network runs in 16 bits."""

import pytest
import torch
from torch import nn

from gridgate.pipeline.float32_convolutions import Float32Convolutions
from gridgate.pipeline.window_forward import WindowForward


class TwoLayers(nn.Module):
    """A convolution of the image and one of features; keeps what the first gave."""

    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__()
        convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.first = convolution(channels, 8, 3, padding=1)
        self.second = convolution(8, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.features = self.first(x)
        self.image_was, self.weights_were = x.dtype, self.first.weight.dtype
        return self.second(self.features)


@pytest.mark.parametrize(("channels", "spatial_dims"), [(1, 3), (2, 3), (3, 2)])
def test_the_first_convolution_is_that_of_float32_and_the_rest_runs_in_16_bits(
    channels: int, spatial_dims: int
) -> None:
    torch.manual_seed(0)
    network = TwoLayers(channels, spatial_dims).eval()
    windows = torch.rand(2, channels, *[9] * spatial_dims)
    with torch.no_grad():
        exact = network.first(windows)
        (scores,) = WindowForward(network, dtype=torch.bfloat16, batch_size=2)(windows)
        torch.testing.assert_close(network.features, exact, rtol=0, atol=1e-6)
        assert scores.dtype == torch.bfloat16
        # without: off by about 2^-9 of the values
        (_,) = WindowForward(network, dtype=torch.bfloat16, batch_size=2, exact_input=False)(windows)
        assert network.features.dtype == torch.bfloat16
        assert (network.features - exact).abs().max() > 1e-4


def test_features_with_as_many_channels_as_the_image_stay_in_16_bits() -> None:
    convolution, features = nn.Conv3d(1, 1, 1), torch.ones(1, 1, 4, 4, 4, dtype=torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Float32Convolutions(1):
        assert convolution(features).dtype == torch.bfloat16


def test_a_scripted_network_still_runs() -> None:
    scripted = torch.jit.script(nn.Conv3d(1, 2, 3, padding=1).eval())
    with torch.no_grad():
        (scores,) = WindowForward(scripted, dtype=torch.bfloat16)(torch.ones(1, 1, 8, 8, 8))
    assert scores.shape == (1, 2, 8, 8, 8)


@pytest.mark.parametrize(
    ("convolution", "size", "exact"),
    [
        (nn.Conv3d(4, 4, 3, padding=1), (2, 12, 12), True),  # a map smaller than 8 voxels along one axis
        (nn.Conv3d(4, 4, 3, padding=1), (12, 12, 12), False),
        (nn.Conv3d(4, 4, 7, padding=3), (12, 12, 12), True),  # a large kernel
        (nn.ConvTranspose3d(4, 4, 2, stride=2), (4, 4, 4), True),
        (nn.ConvTranspose3d(4, 4, 2, stride=2), (12, 12, 12), False),
    ],
)
def test_in_training_small_maps_and_large_kernels_run_in_float32(
    convolution: nn.Module, size: tuple[int, int, int], exact: bool
) -> None:
    features = torch.rand(1, 4, *size).to(torch.bfloat16)
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16), Float32Convolutions(1, training=training):
            maps = convolution(features)
        wanted = torch.float32 if training and exact else torch.bfloat16
        assert maps.dtype == wanted
    torch.testing.assert_close(maps.float(), convolution(features.float()), rtol=0.02, atol=0.02)
