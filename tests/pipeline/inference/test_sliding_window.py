"""Sliding windows against MONAI's own inferer, and mirroring against flips made by hand."""

from itertools import combinations
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.networks import SliceBySlice
from gridgate.pipeline.inference.accumulator import Accumulator
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.inference.window_forward import OtherOutputError
from gridgate.pipeline.models.ensemble import Ensemble

from .window_network import Network, image, joined


@pytest.fixture
def network() -> Network:
    return Network().eval()


def monais(
    network: nn.Module, inputs: torch.Tensor, roi_size: tuple[int, ...], overlap: float
) -> torch.Tensor:
    lowest = float(inputs.min())  # what training pads small volumes with
    inferer = SlidingWindowInferer(
        roi_size, sw_batch_size=1, overlap=overlap, mode="gaussian", cval=lowest
    )
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
    torch.testing.assert_close(
        ours, monais(network, inputs, (16, 16, 16), overlap), rtol=0, atol=1e-5
    )


def test_it_is_monais_on_several_images_and_on_slices(network: Network) -> None:
    inputs = image(20, 18, 16, batch=2)
    ours = SlidingWindow([16, 12, 8], overlap=0.5, amp=False)(inputs, network)
    torch.testing.assert_close(ours, monais(network, inputs, (16, 12, 8), 0.5), rtol=0, atol=1e-5)
    flat, slices = Network(2).eval(), image(33, 20)
    ours = SlidingWindow([16, 16], overlap=0.25, amp=False)(slices, flat)
    torch.testing.assert_close(ours, monais(flat, slices, (16, 16), 0.25), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (2, 1), (0, 1, 2), (1, 1)])
def test_mirroring_is_the_mean_over_all_flips(axes: tuple[int, ...], network: Network) -> None:
    inputs = image(
        12, 12, 12
    )  # one window: then the flips of the window are the flips of the image
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
    on_cpu = SlidingWindow((16, 16, 16), overlap=0.5, mirror_axes=(1,), amp=False)(
        inputs, network.cpu()
    )
    assert (on_gpu.cpu() - on_cpu).abs().max() < 0.1, "16 bits, so not exactly"


# slabs


@pytest.mark.parametrize("size", [(40, 17, 23), (17, 40, 16), (9, 18, 41), (5, 7, 3), (16, 16, 16)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
def test_slabs_are_the_volume_piece_by_piece(
    size: tuple[int, int, int], overlap: float, network: Network
) -> None:
    inputs = image(*size)
    inferer = SlidingWindow((16, 16, 16), overlap=overlap, amp=False)
    slabs = inferer.slabs(inputs[0], network)
    assert slabs.axis == max(range(3), key=lambda axis: max(size[axis], 16))
    torch.testing.assert_close(
        joined(slabs), monais(network, inputs, (16, 16, 16), overlap)[0], rtol=0, atol=1e-5
    )
    assert slabs.facts.windows_skipped == 0
    assert slabs.facts.network_seconds is not None and slabs.facts.network_seconds > 0


def test_the_accumulator_is_as_deep_as_a_window(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    class Watched(Accumulator):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            shapes.append(tuple(self.sums.shape))

    monkeypatch.setattr("gridgate.pipeline.inference.window_run.Accumulator", Watched)
    for length in (40, 80):
        slabs = SlidingWindow((16, 16, 16), amp=False).slabs(image(20, 24, length)[0], network)
        rows = [len(slab.scores) for slab in slabs]
        assert max(rows) <= 16 and sum(rows) == length
    assert shapes == [(16, 20, 24, 3)] * 2


def test_slices_for_a_2d_network_are_monais_in_2d() -> None:
    flat, inputs = Network(2).eval(), image(33, 20, 11)
    inferer = SlidingWindow((16, 16, 4), overlap=(0.5, 0.25, 0.0), amp=False)
    ours = inferer(inputs, SliceBySlice(flat).eval())
    theirs = SlidingWindowInferer(
        (16, 16), 1, overlap=(0.5, 0.25), mode="gaussian", cval=float(inputs.min())
    )
    with torch.no_grad():
        for place in range(11):
            wanted = theirs(inputs[..., place], flat)
            torch.testing.assert_close(ours[..., place], wanted, rtol=0, atol=1e-5)


def test_constant_weights_and_an_overlap_an_axis_are_monais(network: Network) -> None:
    inputs = image(30, 25, 20)
    options: dict[str, Any] = {"overlap": (0.5, 0.25, 0.0), "mode": "constant"}
    ours = SlidingWindow((16, 16, 16), amp=False, **options)(inputs, network)
    lowest = float(inputs.min())
    theirs = SlidingWindowInferer((16, 16, 16), 1, cval=lowest, **options)
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(inputs, network), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_ensemble_is_the_mean_of_probabilities(channels: int) -> None:
    def member(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Conv3d(1, channels, 3, padding=1).eval()

    inputs, networks = image(16, 16, 24), [member(0), member(1), member(2)]
    inferer = SlidingWindow((16, 16, 16), amp=False, overlap=0.5)
    found = inferer(inputs, Ensemble(networks))
    start = [image[..., first : first + 16] for image in [inputs] for first in (0, 8)]
    wanted = []
    with torch.no_grad():
        for window in start:
            chances = [
                n(window).sigmoid() if channels == 1 else n(window).softmax(1) for n in networks
            ]
            wanted.append(torch.stack(chances).mean(0))
    torch.testing.assert_close(found[..., :8], wanted[0][..., :8], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[..., 16:], wanted[1][..., 8:], rtol=0, atol=1e-5)
    slabs = inferer.slabs(inputs[0], Ensemble(networks), region=torch.zeros(16, 16, 24))
    assert slabs.probabilities and joined(slabs)[0].max() == (0.0 if channels == 1 else 1.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_are_the_softmax_of_the_blended_logits(channels: int) -> None:
    torch.manual_seed(0)
    network, inputs = nn.Conv3d(1, channels, 3, padding=1).eval(), image(40, 20, 17)
    logits = SlidingWindow((16, 16, 16), amp=False)(inputs, network)
    inferer = SlidingWindow((16, 16, 16), amp=False, probabilities=True)
    wanted = logits.sigmoid() if channels == 1 else logits.softmax(1)
    torch.testing.assert_close(inferer(inputs, network), wanted, rtol=0, atol=1e-5)
    nothing = inferer.slabs(inputs[0], network, region=torch.zeros(40, 20, 17))
    assert nothing.probabilities and joined(nothing)[0].unique().tolist() == [
        0.0 if channels == 1 else 1.0
    ]


def test_mirror_agreement_by_hand() -> None:
    class Shifted(nn.Module):
        """Says 1 where the image is above 0, and in the first row always."""

        def forward(self, window: torch.Tensor) -> torch.Tensor:
            logits = torch.cat([-window, window], 1)
            logits[:, 1, 0] = 100
            return logits

    inputs = torch.full((1, 1, 8, 8, 8), -1.0)
    inputs[:, :, 4:6] = 1.0
    slabs = SlidingWindow((8, 8, 8), mirror_axes=(0,), amp=False).slabs(inputs[0], Shifted())
    labels = joined(slabs).argmax(0)
    assert labels[0].all() and labels[7].all() and labels[4:6].all()
    # of every second row 0 2 4 6, one view calls 0 and 4 foreground and the other 4 alone (its own
    # first row is 7): they agree with the mean in 4 only
    assert slabs.facts.mirror_agreement == pytest.approx(0.5)
    plain = SlidingWindow((8, 8, 8), amp=False).slabs(inputs[0], Shifted())
    joined(plain)
    assert plain.facts.mirror_agreement is None


def test_networks_with_other_outputs_go_monais_way(network: Network) -> None:
    class Two(nn.Module):
        def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return network(windows), windows * 2

    inputs = image(20, 16, 16)
    first, second = SlidingWindow((16, 16, 16), amp=False)(inputs, Two())
    torch.testing.assert_close(
        first, SlidingWindow((16, 16, 16), amp=False)(inputs, network), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(second, inputs * 2, rtol=0, atol=1e-5)
    with pytest.raises(OtherOutputError, match="tuple"):
        SlidingWindow((16, 16, 16), mirror_axes=(0,), amp=False)(inputs, Two())


def test_progress_is_told_and_can_end_the_run(network: Network) -> None:
    told = []
    inferer = SlidingWindow((16, 16, 16), sw_batch_size=2, amp=False, overlap=0)
    for _ in inferer.slabs(
        image(48, 16, 16)[0], network, progress=lambda done, total: told.append((done, total))
    ):
        pass
    assert told == [(2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(inferer.slabs(image(48, 16, 16)[0], network, progress=stop))


@pytest.mark.cuda
def test_on_a_gpu_the_accumulator_may_lie_in_the_machines_memory(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = image(48, 40, 24)
    wanted = SlidingWindow((16, 16, 16), amp=False)(inputs, network)
    network = network.cuda()
    inferer = SlidingWindow((16, 16, 16), amp=False, sw_device=torch.device("cuda"))
    torch.testing.assert_close(inferer(inputs, network).cpu(), wanted, rtol=0, atol=1e-3)
    monkeypatch.setattr(
        "gridgate.pipeline.inference.window_run.accumulator_device", lambda *_: torch.device("cpu")
    )
    found = inferer(inputs.cuda(), network)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
