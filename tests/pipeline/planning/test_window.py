"""The search for the window and the batch, with costs that are known instead of measured."""

from dataclasses import dataclass, field, replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.errors import ConfigError
from gridgate.pipeline.planning.decisions.window import WindowChoice, decide_window
from gridgate.pipeline.planning.decisions.window_sizes import (
    fewest_iterations,
    first_window,
    smaller_window,
)
from gridgate.pipeline.planning.measures.machine import Machine
from gridgate.pipeline.planning.measures.trial import Candidate, Step

from .fingerprints import fingerprint, size


@dataclass(frozen=True)
class Known(Candidate):
    """A candidate that takes 100 bytes and some seconds per voxel, and runs nothing.

    Args:
        voxel_seconds: of a step.
        fails_below, fails_above: windows of fewer, or of more voxels do not run.
        tried: what was run.
    """

    name: str = "known"
    options: dict[str, int] = field(default_factory=dict)
    channels: int = 1
    outputs: int = 2
    voxel_seconds: float = 1e-6
    fails_below: int = 0
    fails_above: int = 10**12
    tried: list[tuple[list[int], int]] = field(default_factory=list)

    def divisor(self) -> tuple[int, ...]:
        return (16, 16, 16)

    def needed(self, window: list[int], batch: int, *, half: bool) -> int:
        return 100 * batch * prod(window)

    def try_step(self, window: list[int], batch: int, machine: Machine) -> Step | str:
        self.tried.append((window, batch))
        if prod(window) < self.fails_below:
            return "too small"
        if prod(window) > self.fails_above:
            return "out of memory"
        seconds = self.voxel_seconds * batch * prod(window)
        return Step(seconds, seconds / 3, self.needed(window, batch, half=False))


def machine(memory: float = 1e12, seconds: float = 1200.0, *, here: bool = True) -> Machine:
    import torch

    device = torch.device("cpu") if here else None
    return Machine(device, "cpu" if here else "cuda", int(memory), False, seconds, "by hand")


def decide(
    candidate: Known, planned_for: Machine, shape: tuple[int, int, int], cases: int = 200
) -> WindowChoice:
    found = fingerprint([{"liver": size()}] * cases, shape=shape)
    return decide_window(found, (1.0, 1.0, 1.0), candidate, planned_for)


def test_a_case_that_fits_is_the_window_and_the_batch_grows() -> None:
    candidate = Known(voxel_seconds=5e-8)
    found = decide(candidate, machine(), (35, 50, 36), cases=1000)
    assert found.window.value == [32, 48, 32]
    # 32 windows take 0.08 s; 1200 s / 10,000 iterations are 0.12 s, but 32 are enough
    assert found.batch.value == 32
    assert candidate.tried[-1] == ([32, 48, 32], 32)
    assert found.step is not None and found.step.seconds == pytest.approx(16 * 49152e-7)


def test_the_batch_grows_no_further_than_time_memory_and_data_allow() -> None:
    shape, voxels = (35, 50, 36), 32 * 48 * 32
    slow = decide(Known(voxel_seconds=0.029 / voxels), machine(), shape)
    assert slow.batch.value == 4  # 0.116 s, as 1200 s have 10,000 iterations
    memory = decide(Known(voxel_seconds=1e-9), machine(100 * 8 * voxels), shape)
    assert memory.batch.value == 8
    # 5 % of 8 cases of 63,000 voxels are less than a window
    few = decide(Known(voxel_seconds=1e-9), machine(), shape, cases=8)
    assert few.batch.value == 2


def test_memory_cuts_along_the_axis_that_covers_most() -> None:
    found = decide(Known(voxel_seconds=1e-12), machine(100 * 2 * 64**3), (128, 128, 128))
    assert prod(found.window.value) <= 64**3 and found.window.value == [64, 64, 64]
    assert "is what fits into 0.052 GB (by hand)" in found.window.reason
    flat = decide(Known(voxel_seconds=1e-12), machine(100 * 2 * 128 * 128 * 32), (512, 512, 32))
    assert flat.window.value == [128, 128, 32]


def test_time_cuts_what_memory_allows() -> None:
    # 1200 s have 2,500 steps of 0.48 s
    candidate = Known(voxel_seconds=0.48 / (2 * 80 * 80 * 80))
    found = decide(candidate, machine(), (160, 160, 160))
    assert found.window.value == [80, 80, 80]
    assert found.step is not None and found.step.seconds == pytest.approx(0.48)
    assert "measured: 0.48 s a step" in found.window.reason
    # without the device nothing is tried, and nothing cut for its time
    away = Known(voxel_seconds=99.0)
    not_here = decide(away, machine(here=False), (160, 160, 160))
    assert not_here.window.value == [160, 160, 160] and not away.tried
    assert not_here.step is None and "the device is not here" in not_here.window.reason


def test_a_window_that_does_not_run_is_not_taken() -> None:
    # everything is too slow, and what is small enough does not run: the last that ran is taken
    candidate = Known(voxel_seconds=1e-3, fails_below=48**3)
    found = decide(candidate, machine(), (64, 64, 64))
    assert prod(found.window.value) >= 48**3 and found.step is not None
    assert found.step.seconds == pytest.approx(2e-3 * prod(found.window.value))
    with pytest.raises(ConfigError, match="does not run on cpu: too small"):
        decide(Known(fails_below=10**9), machine(), (64, 64, 64))


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_what_is_too_large_for_the_device_is_not_the_end_of_the_search(kind: str) -> None:
    """The meta device counts too little: it is sought between what runs and what does not."""
    candidate = Known(voxel_seconds=1e-9, fails_above=96**3)
    planned_for = replace(machine(), kind=kind)
    found = decide(candidate, planned_for, (160, 160, 160))
    assert 0.5 * 96**3 < prod(found.window.value) <= 96**3
    assert len([window for window, batch in candidate.tried if batch == 2]) <= 5


def test_on_a_gpu_the_largest_window_is_tried_first() -> None:
    candidate = Known(voxel_seconds=1e-9)
    found = decide(candidate, replace(machine(), kind="cuda"), (160, 160, 160))
    assert found.window.value == [160, 160, 160] and candidate.tried[0] == ([160, 160, 160], 2)


def test_a_slow_small_window_does_not_cut_the_others() -> None:
    @dataclass(frozen=True)
    class Launching(Known):
        """0.2 s a step, whatever the window: the small one says too much per voxel."""

        def try_step(self, window: list[int], batch: int, machine: Machine) -> Step | str:
            self.tried.append((window, batch))
            return Step(0.2 + 4e-8 * batch * prod(window), 0.1, None)

    found = decide(Launching(), machine(), (96, 96, 96))
    assert found.window.value == [96, 96, 96]  # 0.27 s of 0.48; by 48^3 alone it would be 1.7 s


def test_nothing_fits() -> None:
    with pytest.raises(ConfigError, match=r"known needs .* GB for 2 windows of 32 x 32 x 32"):
        decide(Known(), machine(1000.0), (64, 64, 64))


def test_what_is_given_stays() -> None:
    found = fingerprint([{"liver": size()}] * 50, shape=(128, 128, 128))
    choice = decide_window(found, (1.0, 1.0, 1.0), Known(), machine(), window=[48, 32, 64], batch=3)
    assert (choice.window.value, choice.batch.value) == ([48, 32, 64], 3)
    assert choice.step is not None  # and is measured all the same
    assert choice.step.seconds == pytest.approx(3e-6 * 48 * 32 * 64)


@pytest.mark.parametrize("here", [True, False])
def test_a_given_window_has_to_fit_as_well(here: bool) -> None:
    """It takes 2 x 48 x 32 x 64 x 100 bytes, 0.02 GB."""
    found = fingerprint([{"liver": size()}] * 50, shape=(128, 128, 128))
    told = {"window": [48, 32, 64], "batch": 2}
    small, enough = machine(1.9e7, here=here), machine(2.0e7, here=here)
    with pytest.raises(ConfigError, match=r"needs 0.02 GB for 2 windows of 48 x 32 x 64, and"):
        decide_window(found, (1.0, 1.0, 1.0), Known(), small, **told)
    assert decide_window(found, (1.0, 1.0, 1.0), Known(), enough, **told).window.value
    assert decide_window(found, (1.0, 1.0, 1.0), Known(), machine(here=here), **told)


def test_a_given_window_of_other_multiples_is_refused() -> None:
    found = fingerprint([{"liver": size()}] * 50, shape=(128, 128, 128))
    with pytest.raises(ConfigError, match=r'give --roi_size "\[48, 32, 64\]"'):
        decide_window(found, (1.0, 1.0, 1.0), Known(), machine(), window=[47, 32, 63])


@given(
    st.lists(st.floats(8, 600), min_size=3, max_size=3),
    st.lists(st.floats(0.4, 6), min_size=3, max_size=3),
    st.sampled_from([(8, 8, 8), (16, 16, 16), (32, 32, 32), (16, 16, 1)]),
)
def test_windows_are_multiples_and_get_smaller(
    shape: list[float], spacing: list[float], divisor: tuple[int, ...]
) -> None:
    window: list[int] | None = first_window(shape, spacing, divisor)
    assert window is not None
    for one, length, step in zip(window, shape, divisor, strict=True):
        assert one % step == 0 and step <= one < length + 2 * step
    assert prod(window) >= 2 * prod(divisor)  # more than one value on the coarsest level
    count = 0
    while window is not None:
        smaller = smaller_window(window, shape, divisor)
        if smaller is not None:
            assert prod(smaller) < prod(window)
            assert all(one % step == 0 for one, step in zip(smaller, divisor, strict=True))
        window, count = smaller, count + 1
    assert count < 2000


def test_more_time_is_for_more_iterations_and_for_larger_windows() -> None:
    assert fewest_iterations(1200) == 2500
    assert 1200 / fewest_iterations(1200) < 86400 / fewest_iterations(86400)
    assert fewest_iterations(86400) > fewest_iterations(1200)
