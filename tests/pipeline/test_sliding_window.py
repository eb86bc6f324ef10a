"""Sliding windows against MONAI's own inferer, and mirroring against flips made by hand."""

from itertools import combinations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.pipeline.sliding_window import SlidingWindow


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


@pytest.fixture
def network() -> Network:
    return Network().eval()


def image(*size: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(seed))


def monais(network: nn.Module, inputs: torch.Tensor, roi_size: tuple[int, ...], overlap: float) -> torch.Tensor:
    lowest = float(inputs.min())  # what training pads small volumes with
    inferer = SlidingWindowInferer(roi_size, sw_batch_size=1, overlap=overlap, mode="gaussian", cval=lowest)
    with torch.no_grad():
        result: torch.Tensor = inferer(inputs, network)
    return result


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize(
    "size",
    [
        (16, 16, 16),  # one window
        (32, 16, 16),
        (29, 17, 23),  # odd
        (9, 40, 16),  # smaller than the window along an axis
        (5, 7, 3),  # and along all
    ],
)
def test_it_is_monais(size: tuple[int, int, int], overlap: float, network: Network) -> None:
    inputs = image(*size)
    ours = SlidingWindow((16, 16, 16), overlap=overlap, amp=False)(inputs, network)
    assert ours.shape == (1, 3, *size) and ours.dtype == torch.float32
    torch.testing.assert_close(ours, monais(network, inputs, (16, 16, 16), overlap), rtol=0, atol=1e-5)


def test_it_is_monais_on_several_images_and_on_slices(network: Network) -> None:
    inputs = image(20, 18, 16, batch=2)
    ours = SlidingWindow([16, 12, 8], overlap=0.5, amp=False)(inputs, network)
    torch.testing.assert_close(ours, monais(network, inputs, (16, 12, 8), 0.5), rtol=0, atol=1e-5)
    flat, slices = Network(2).eval(), image(33, 20)
    ours = SlidingWindow([16, 16], overlap=0.25, amp=False)(slices, flat)
    torch.testing.assert_close(ours, monais(flat, slices, (16, 16), 0.25), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (2, 1), (0, 1, 2), (1, 1)])
def test_mirroring_is_the_mean_over_all_flips(axes: tuple[int, ...], network: Network) -> None:
    inputs = image(12, 12, 12)  # one window: then the flips of the window are the flips of the image
    wanted = []
    for count in range(len(set(axes)) + 1):
        for flipped in combinations(sorted(set(axes)), count):
            dims = [axis + 2 for axis in flipped]
            with torch.no_grad():
                wanted.append(network(inputs.flip(dims)).flip(dims))
    assert len(wanted) == 2 ** len(set(axes))
    ours = SlidingWindow((12, 12, 12), mirror_axes=axes, amp=False)(inputs, network)
    torch.testing.assert_close(ours, torch.stack(wanted).mean(0), rtol=0, atol=1e-5)


def test_mirrored_input_gives_the_mirrored_output(network: Network) -> None:
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, mirror_axes=(0,), amp=False)
    inputs = image(24, 16, 16)
    there = inferer(inputs, network)
    back = inferer(inputs.flip(2), network).flip(2)
    torch.testing.assert_close(there, back, rtol=0, atol=1e-4)


def test_a_last_batch_of_one_is_computed_as_two(network: Network) -> None:
    # a 3D convolution on a CPU is many times slower for one window than for two
    inputs = image(32, 16, 16)  # three windows at this overlap
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, sw_batch_size=2, amp=False)
    ours = inferer(inputs, network)
    assert network.batches == [2, 2]
    torch.testing.assert_close(ours, monais(network, inputs, (16, 16, 16), 0.5), rtol=0, atol=1e-5)
    # a window's logits do not depend on its company
    one, two = image(16, 16, 16, seed=1), image(16, 16, 16, seed=2)
    apart = torch.cat([inferer(one, network), inferer(two, network)])
    torch.testing.assert_close(inferer(torch.cat([one, two]), network), apart, rtol=0, atol=1e-5)


def test_it_keeps_no_gradient_and_no_metadata(network: Network) -> None:
    inputs = MetaTensor(image(16, 16, 16), affine=torch.eye(4))
    result = SlidingWindow((16, 16, 16), amp=False)(inputs, network)
    assert not result.requires_grad
    assert type(result) is torch.Tensor


def test_options_of_monais_inferer_are_passed_on(network: Network) -> None:
    inputs = image(24, 16, 16)
    ours = SlidingWindow((16, 16, 16), overlap=0.5, mode="constant", amp=False)(inputs, network)
    plain = SlidingWindowInferer((16, 16, 16), overlap=0.5, mode="constant")
    with torch.no_grad():
        torch.testing.assert_close(ours, plain(inputs, network), rtol=0, atol=1e-5)
    assert (ours - monais(network, inputs, (16, 16, 16), 0.5)).abs().max() > 1e-4


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 50])
def test_an_impossible_overlap_is_refused(overlap: float) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        SlidingWindow((16, 16, 16), overlap=overlap)


@pytest.mark.parametrize("axes", [(3,), (-1,), (0, 5)])
def test_an_axis_that_is_none_is_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="3D"):
        SlidingWindow((16, 16, 16), mirror_axes=axes)


@pytest.mark.cuda
def test_on_a_gpu_it_is_close_to_the_cpu(network: Network) -> None:
    inputs = image(29, 17, 23)
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, mirror_axes=(1,))
    on_gpu = inferer(inputs.cuda(), network.cuda())
    assert on_gpu.dtype == torch.float32 and on_gpu.is_cuda
    on_cpu = SlidingWindow((16, 16, 16), overlap=0.5, mirror_axes=(1,), amp=False)(inputs, network.cpu())
    assert (on_gpu.cpu() - on_cpu).abs().max() < 0.1, "16 bits, so not exactly"
