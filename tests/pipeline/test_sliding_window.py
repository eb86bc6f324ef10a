"""Sliding windows against MONAI's own inferer, and mirroring against flips made by hand."""

from itertools import combinations
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.pipeline import device_memory
from gridgate.pipeline.accumulator import Accumulator
from gridgate.pipeline.ensemble import Ensemble
from gridgate.pipeline.sliding_window import SlidingWindow
from gridgate.pipeline.window_forward import OtherOutputError
from gridgate.transforms.slabs import ScoreSlabs


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


# slabs


def joined(slabs: ScoreSlabs) -> torch.Tensor:
    """(C, *shape) of slabs, which must be in order and without gaps."""
    parts, reached = [], 0
    for slab in slabs:
        assert slab.start == reached
        reached += len(slab.scores)
        parts.append(slab.scores)
    assert reached == slabs.shape[slabs.axis]
    return torch.cat(parts).movedim(-1, 0).movedim(1, 1 + slabs.axis)


@pytest.mark.parametrize("size", [(40, 17, 23), (17, 40, 16), (9, 18, 41), (5, 7, 3), (16, 16, 16)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
def test_slabs_are_the_volume_piece_by_piece(size: tuple[int, int, int], overlap: float, network: Network) -> None:
    inputs = image(*size)
    inferer = SlidingWindow((16, 16, 16), overlap=overlap, amp=False)
    slabs = inferer.slabs(inputs[0], network)
    assert slabs.axis == max(range(3), key=lambda axis: max(size[axis], 16))
    torch.testing.assert_close(joined(slabs), monais(network, inputs, (16, 16, 16), overlap)[0], rtol=0, atol=1e-5)
    assert slabs.facts["windows_skipped"] == 0
    assert 0 < slabs.facts["network_seconds"] <= slabs.facts["seconds"]


def test_the_accumulator_is_as_deep_as_a_window(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    class Watched(Accumulator):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            shapes.append(tuple(self.sums.shape))

    monkeypatch.setattr("gridgate.pipeline.window_run.Accumulator", Watched)
    for length in (40, 80):
        slabs = SlidingWindow((16, 16, 16), amp=False).slabs(image(20, 24, length)[0], network)
        rows = [len(slab.scores) for slab in slabs]
        assert max(rows) <= 16 and sum(rows) == length
    assert shapes == [(16, 20, 24, 3)] * 2


def test_constant_weights_and_an_overlap_an_axis_are_monais(network: Network) -> None:
    inputs = image(30, 25, 20)
    options: dict[str, Any] = {"overlap": (0.5, 0.25, 0.0), "mode": "constant"}
    ours = SlidingWindow((16, 16, 16), amp=False, **options)(inputs, network)
    lowest = float(inputs.min())
    theirs = SlidingWindowInferer((16, 16, 16), 1, cval=lowest, **options)
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(inputs, network), rtol=0, atol=1e-5)


def test_windows_outside_the_region_are_not_run_and_get_the_background(network: Network) -> None:
    inputs = image(48, 16, 16)
    region = torch.zeros(48, 16, 16, dtype=torch.bool)
    region[30, 3, 3] = True
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, amp=False)
    everywhere = inferer(inputs, network)
    slabs = inferer.slabs(inputs[0], network, region=region)
    found = joined(slabs)
    # windows begin at 0, 8, 16, 24 and 32; those from 16 and 24 on hold row 30
    assert (slabs.facts["windows"], slabs.facts["windows_skipped"]) == (5, 3)
    assert (found.argmax(0)[:16] == 0).all() and (found.argmax(0)[40:] == 0).all()
    # no window that holds a voxel of the region is missing, so it has its scores from all of them
    torch.testing.assert_close(found[:, 30], everywhere[0, :, 30], rtol=0, atol=1e-6)
    torch.testing.assert_close(inferer(inputs, network, region=region)[0], found, rtol=0, atol=0)


def test_windows_fitted_to_the_region_are_those_of_the_crop(network: Network) -> None:
    inputs = image(60, 40, 30)
    region = torch.zeros(60, 40, 30, dtype=torch.bool)
    region[20:44, 5:29, 4:23] = True
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, amp=False, fit_region=True)
    slabs = inferer.slabs(inputs[0], network, region=region)
    found = joined(slabs)
    crop = SlidingWindow((16, 16, 16), overlap=0.5, amp=False)(inputs[:, :, 20:44, 5:29, 4:23], network)[0]
    torch.testing.assert_close(found[:, 20:44, 5:29, 4:23], crop, rtol=0, atol=1e-6)
    outside = torch.ones(60, 40, 30, dtype=torch.bool)
    outside[20:44, 5:29, 4:23] = False
    assert (found.argmax(0)[outside] == 0).all()
    # 7 x 4 x 3 windows over the volume, 2 x 2 x 2 over the box
    assert (slabs.facts["windows"], slabs.facts["windows_skipped"]) == (84, 76)


def test_windows_are_not_moved_where_that_saves_none(network: Network) -> None:
    inputs = image(40, 24, 16)
    region = torch.zeros(40, 24, 16, dtype=torch.bool)
    region[3:39] = True  # a box of 36 voxels takes as many windows as one of 40
    fitted, plain = (SlidingWindow((16, 16, 16), amp=False, fit_region=fit) for fit in (True, False))
    torch.testing.assert_close(
        fitted(inputs, network, region=region), plain(inputs, network, region=region), rtol=0, atol=0
    )


@pytest.mark.parametrize(("voxel", "start"), [(1, 0), (30, 23), (57, 44)])
def test_a_region_smaller_than_a_window_gets_one_window_around_it(network: Network, voxel: int, start: int) -> None:
    inputs = image(60, 16, 16)
    region = torch.zeros(60, 16, 16, dtype=torch.bool)
    region[voxel, 3, 3] = True
    slabs = SlidingWindow((16, 16, 16), amp=False, fit_region=True).slabs(inputs[0], network, region=region)
    found, inside = joined(slabs), slice(start, start + 16)
    with torch.no_grad():
        torch.testing.assert_close(found[:, inside], network(inputs[:, :, inside])[0], rtol=0, atol=1e-5)
    assert (found[:, :start].argmax(0) == 0).all() and (found[:, start + 16 :].argmax(0) == 0).all()
    assert slabs.facts["windows"] - slabs.facts["windows_skipped"] == 1


def test_an_empty_region_is_all_background(network: Network) -> None:
    nothing = torch.zeros(20, 30, 20, dtype=torch.bool)
    slabs = SlidingWindow((16, 16, 16), amp=False).slabs(image(20, 30, 20)[0], network, region=nothing)
    found = joined(slabs)
    assert found.shape == (3, 20, 30, 20) and (found.argmax(0) == 0).all()
    assert slabs.facts["windows"] == slabs.facts["windows_skipped"] == 12


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
            chances = [n(window).sigmoid() if channels == 1 else n(window).softmax(1) for n in networks]
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
    assert nothing.probabilities and joined(nothing)[0].unique().tolist() == [0.0 if channels == 1 else 1.0]


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
    # of every second row 0 2 4 6, one view calls 0 and 4 foreground and the other 4 alone (its own first row is 7):
    # they agree with the mean in 4 only
    assert slabs.facts["mirror_agreement"] == pytest.approx(0.5)
    plain = SlidingWindow((8, 8, 8), amp=False).slabs(inputs[0], Shifted())
    joined(plain)
    assert "mirror_agreement" not in plain.facts


def test_batches_shrink_when_memory_runs_out_and_other_errors_are_errors(network: Network) -> None:
    class Small(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if len(windows) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            result: torch.Tensor = network(windows)
            return result

    class Broken(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory, says this text, but it is another error")

    inputs = image(40, 30, 20)
    inferer = SlidingWindow((16, 16, 16), sw_batch_size=8, amp=False)
    torch.testing.assert_close(inferer(inputs, Small()), inferer(inputs, network), rtol=0, atol=1e-5)
    with pytest.raises(RuntimeError, match="another error") as caught:
        inferer(inputs, Broken())
    assert not isinstance(caught.value, torch.OutOfMemoryError)

    class Full(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        inferer(inputs, Full())


def test_where_the_accumulator_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda:0"), torch.device("cpu")
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: None if device == cpu else 1000)
    assert device_memory.accumulator_device(cpu, 10**15) == cpu
    assert device_memory.accumulator_device(gpu, 800) == gpu
    assert device_memory.accumulator_device(gpu, 999) == cpu


def test_16_bits_halve_the_accumulator_and_hardly_change_the_scores(network: Network) -> None:
    inputs = image(40, 24, 24)
    exact = SlidingWindow((16, 16, 16), amp=False)(inputs, network)
    half = SlidingWindow((16, 16, 16), amp=True)(inputs, network)  # bfloat16 in software where it must be
    slab = next(iter(SlidingWindow((16, 16, 16), amp=True).slabs(inputs[0], network)))
    assert slab.scores.dtype == torch.float16
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()


def test_networks_with_other_outputs_go_monais_way(network: Network) -> None:
    class Two(nn.Module):
        def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return network(windows), windows * 2

    inputs = image(20, 16, 16)
    first, second = SlidingWindow((16, 16, 16), amp=False)(inputs, Two())
    torch.testing.assert_close(first, SlidingWindow((16, 16, 16), amp=False)(inputs, network), rtol=0, atol=1e-5)
    torch.testing.assert_close(second, inputs * 2, rtol=0, atol=1e-5)
    with pytest.raises(OtherOutputError, match="tuple"):
        SlidingWindow((16, 16, 16), mirror_axes=(0,), amp=False)(inputs, Two())


def test_progress_is_told_and_can_end_the_run(network: Network) -> None:
    told = []
    inferer = SlidingWindow((16, 16, 16), sw_batch_size=2, amp=False, overlap=0)
    for _ in inferer.slabs(image(48, 16, 16)[0], network, progress=lambda done, total: told.append((done, total))):
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
    monkeypatch.setattr("gridgate.pipeline.window_run.accumulator_device", lambda *_: torch.device("cpu"))
    found = inferer(inputs.cuda(), network)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
